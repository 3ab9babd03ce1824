"""The pages of `remoteclip prompts tune` and `compare`, opened in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.sources import open_source
from firmware_cfg.prompt_list import load_prompt_list

HOSTILE = "</style><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&amp;{{7*7}}"
FRAMES = (0, 250, 300, 306, 350, 389)


@pytest.fixture(scope="module")
def clip(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few frames of truck4 as a folder of images."""
    folder = tmp_path_factory.mktemp("pages") / "<b>clip"
    folder.mkdir()
    with open_source(data_root / "video" / "truck4.mp4") as source:
        for frame in source:
            if frame.number in FRAMES:
                bgr = cv2.cvtColor(frame.image.rgb(), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(folder / f"{frame.number}.jpg"), bgr)
    return folder


@pytest.fixture(scope="module")
def listed(clip: Path, repository: Path) -> Path:
    """The traffic list with a scene prompt and a sentence that tries to be markup."""
    path = clip.parent / "list.yaml"
    text = (repository / "firmware_cfg" / "prompts" / "traffic.yaml").read_text()
    text = text.replace("background:\n", f"background:\n  - {json.dumps('a roof ' + HOSTILE)}\n")
    scene = f"  - {{id: desert, kind: scene, text: [{json.dumps(HOSTILE)}, an aerial image of a desert]}}\n"
    path.write_text(text.replace("background:\n", f"{scene}\nbackground:\n", 1))
    return path


def remoteclip(*arguments: object) -> str:
    words = [sys.executable, "-m", "edge.cli", "prompts", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Opened:
    """A page in a browser: what it says, asks for and complains of."""

    def __init__(self, browser: Any, path: Path, width: int = 1400) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog"))
        self.page.goto(path.as_uri())

    def asked_of_the_network(self) -> list[str]:
        return [url for url in self.requests[1:] if not url.startswith("data:")]

    def pictures(self) -> list[int]:
        """Width of every picture once it is decoded; 0 where it cannot be."""
        script = "images => Promise.all(images.map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
        return list(self.page.eval_on_selector_all("img", script))


@pytest.fixture(scope="module")
def tuned(clip: Path, listed: Path) -> tuple[Path, dict[str, Any]]:
    page = clip.parent / "tune.html"
    report = json.loads(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    assert report["prompts"]["vehicle"]["found"] > 0
    return page, report


def test_the_page_shows_every_prompt_and_picture_and_asks_nobody(
    browser: Any, tuned: tuple[Path, dict[str, Any]], listed: Path
) -> None:
    path, report = tuned
    opened = Opened(browser, path)
    assert opened.complaints == []
    assert opened.asked_of_the_network() == []
    names = [prompt.id for prompt in load_prompt_list(listed).model.prompts]
    assert [text.split()[0] for text in opened.page.locator("main h2").all_inner_texts()] == names
    numbers = [int(number) for number in opened.page.locator(".crop b").all_inner_texts()]
    assert numbers == [crop for name in names for crop in report["prompts"][name]["crops"]]
    widths = opened.pictures()
    assert len(widths) == len(numbers) > 20
    assert min(widths) > 0
    assert opened.page.locator("svg").count() == 2 * len(names)
    assert opened.page.locator("line.threshold").count() >= len(names)
    assert "--positive" in opened.page.locator("pre").inner_text()


def test_texts_stay_texts(browser: Any, tuned: tuple[Path, dict[str, Any]]) -> None:
    opened = Opened(browser, tuned[0])
    assert HOSTILE in opened.page.locator("#p5 p").first.inner_text()
    assert opened.page.title() == "Tuning list.yaml on <b>clip"
    assert opened.page.locator("script, img[onerror], main b b").count() == 0


def test_no_script_would_run(browser: Any, tuned: tuple[Path, dict[str, Any]]) -> None:
    path = tuned[0].with_name("broken-into.html")
    script = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    path.write_text(tuned[0].read_text().replace("<main", f"{script}<main"))
    opened = Opened(browser, path)
    assert opened.page.title().startswith("Tuning")
    assert len(opened.complaints) >= 2  # the policy's own


@pytest.mark.parametrize("width", [360, 500, 1400])
def test_nothing_sticks_out(browser: Any, tuned: tuple[Path, dict[str, Any]], width: int) -> None:
    opened = Opened(browser, tuned[0], width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_gets_through(browser: Any, tuned: tuple[Path, dict[str, Any]]) -> None:
    opened = Opened(browser, tuned[0])
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the first prompt"
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url("**#first")  # the browser tells of the jump a moment later


def test_marks_show_on_the_page(
    browser: Any, tuned: tuple[Path, dict[str, Any]], clip: Path, listed: Path
) -> None:
    path, report = tuned
    copy = path.with_name("marked.html")
    for beside in (".html", ".sightings.npz"):
        shutil.copy(path.with_suffix(beside), copy.with_suffix(beside))
    first, second, third = report["prompts"]["vehicle"]["crops"][:3]
    remoteclip(
        "tune", listed, "--on", clip, "-o", copy, "--positive", f"{first},{second}", "--negative", third
    )
    opened = Opened(browser, copy)
    assert opened.complaints == []
    assert opened.page.locator(".crop.right").count() == 2
    assert opened.page.locator(".crop.wrong").count() == 1
    assert "What the marks came to" in opened.page.locator(".card").inner_text()


def test_a_comparison_opens(browser: Any, clip: Path, listed: Path) -> None:
    edited, page = clip.parent / "edited.yaml", clip.parent / "compare.html"
    edited.write_text(listed.read_text().replace("review_below: 0.6 ", "threshold: 0.2 "))
    remoteclip("compare", listed, edited, "--on", clip, "-o", page)
    opened = Opened(browser, page)
    assert opened.complaints == []
    assert opened.asked_of_the_network() == []
    widths = opened.pictures()
    assert widths
    assert set(widths) == {640}
