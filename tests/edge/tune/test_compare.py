"""`remoteclip prompts compare`: what an edit changes in a clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ALERT = "    alerts: [{when: count >= 3}]\n"


def test_an_edit_shows_in_counts_alerts_and_frames(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    edited = tmp_path / "edited.yaml"
    text = listed.read_text().replace("threshold: 0.5\n", "threshold: 0.01\n" + ALERT, 1)
    edited.write_text(text.replace("id: blue", "id: azure"))
    page = tmp_path / "compare.html"
    result = remoteclip("compare", listed, edited, "--on", clip, "-o", page, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    a, b = found["lists"]["a"], found["lists"]["b"]
    assert b["prompts"]["red"]["counted"] > a["prompts"]["red"]["counted"] > 0
    assert b["prompts"]["red"]["best"] == a["prompts"]["red"]["best"]
    assert b["prompts"]["azure"]["counted"] == a["prompts"]["blue"]["counted"] == 8
    assert a["alerts"] == []
    assert b["alerts"][0]["prompt"] == "red"
    assert found["differences"]
    assert all(item["b"]["red"] > item["a"]["red"] for item in found["differences"])
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 2 * len(found["differences"])

    table = remoteclip("compare", listed, edited, "--on", clip).stdout.splitlines()
    rows = [line.split() for line in table if line.startswith(("red", "blue", "azure", "haze"))]
    assert [row[:2] for row in rows[:2]] == [["red", "A"], ["red", "B"]]
    assert ["blue", "B", "-", "-", "-", "-", "-", "-"] in rows


def test_a_list_against_itself(clip: Path, listed: Path, tmp_path: Path, remoteclip: Any) -> None:
    page = tmp_path / "same.html"
    result = remoteclip("compare", listed, listed, "--on", clip, "-o", page, "--sequence", "--json")
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["lists"]["a"] == found["lists"]["b"]
    assert found["differences"] == []
    assert "They count the same in every frame." in page.read_text()


def test_the_page_is_refused_before_the_model_runs(clip: Path, listed: Path, remoteclip: Any) -> None:
    result = remoteclip("compare", listed, listed, "--on", clip, "-o", "/proc/no/page.html")
    assert result.exit_code == 2
    assert "looking" not in result.output
