"""The review page in a real browser: what a person writes becomes a set that can be scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.blindpairs.mining import score_set
from training.blindpairs.page import render
from training.blindpairs.questions import Pair, Question
from training.blindpairs.set_file import BlindPairSet, read_set

HOSTILE = "</script><script>document.title='owned'</script>\"'&amp;{{7*7}}"


@pytest.fixture
def mined(tmp_path: Path, draw: Callable[..., Path]) -> BlindPairSet:
    for name in "ace":
        draw(tmp_path / "images" / f"{name}.png", left=200)
    for name in "bdf":
        draw(tmp_path / "images" / f"{name}.png", right=200)
    pairs = tuple(Pair(f"{a}.png", f"{b}.png", 0.9, -0.2) for a, b in ("ab", "cd", "ef"))
    asked = (Question(0, "class", HOSTILE, "an aerial photo of a lake"),)
    return BlindPairSet(tmp_path / "images", "remoteclip-lite0", "geoembed", 0.9, 0.1, pairs, asked)


def test_what_is_written_is_kept_exported_and_scored(
    browser: Any, mined: BlindPairSet, model: Any, tmp_path: Path
) -> None:
    file = tmp_path / "review.html"
    file.write_text(render(mined, None, "drawn"), "utf-8")
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: None if asked.url == file.as_uri() else faults.append(asked.url[:80]))
    page.goto(file.as_uri())
    assert page.title() == "Blind pairs of drawn"
    assert page.locator(".first").first.input_value() == HOSTILE

    second = page.locator(".pair").nth(1)
    _write(second, "light", "brighter on the left", "")
    page.locator("#export").click()
    assert "Pair 2: a question needs" in page.locator("#said").inner_text()
    second.locator(".second").fill("brighter on the right")
    _write(page.locator(".pair").nth(2), "light", "the right", "the left")
    page.locator(".keep").first.uncheck()

    page.reload()  # nothing is lost
    assert page.locator(".pair").nth(1).locator(".second").input_value() == "brighter on the right"
    with page.expect_download() as download:
        page.locator("#export").click()
    download.value.save_as(tmp_path / "made.json")
    made = read_set(tmp_path / "made.json")
    assert made.pairs == mined.pairs[1:]
    assert made.questions == (
        Question(0, "light", "brighter on the left", "brighter on the right"),
        Question(1, "light", "the right", "the left"),
    )
    assert faults == []
    page.close()
    scored = score_set(model, tmp_path / "made.json").accuracy
    assert scored is not None
    assert (scored.overall.n, scored.overall.accuracy, scored.overall.crossed) == (2, 0.5, 0.5)


def test_nothing_but_the_page_s_own_script_runs(browser: Any, mined: BlindPairSet, tmp_path: Path) -> None:
    """Were an escape ever forgotten, the policy still forbids what a file name or statement brings along."""
    file = tmp_path / "review.html"
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"></main>"
    file.write_text(render(mined, None, "drawn").replace("</main>", evil), "utf-8")
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(file.as_uri())
    assert page.title() == "Blind pairs of drawn"
    assert sum("Content Security Policy" in text for text in refused) >= 2
    page.close()


def _write(section: Any, pattern: str, first: str, second: str) -> None:
    section.locator(".add").click()
    for name, text in (("pattern", pattern), ("first", first), ("second", second)):
        section.locator(f".{name}").last.fill(text)
