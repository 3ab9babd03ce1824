from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.readers.findings import KINDS, Entries, Findings

FILE = Path("set/instances_train.json")


def test_every_fault_is_counted_and_the_first_of_each_kind_are_listed() -> None:
    findings = Findings(listed_per_kind=2)
    for number in range(5):
        findings.add("box_outside", FILE, f"annotations[{number}]", "far away")
    findings.add("missing_image", FILE, 7, "no such file")
    assert findings.counts() == {"missing_image": 1, "box_outside": 5}
    assert [finding.entry for finding in findings.listed] == ["7", "annotations[0]", "annotations[1]"]
    assert len(findings) == 6
    assert str(findings.listed[0]) == "set/instances_train.json:7: no such file"
    assert str(findings.listed[1]) == "set/instances_train.json: annotations[0]: far away"


def test_a_report_holds_counts_and_places() -> None:
    findings = Findings()
    findings.add("corrupt_image", Path("a.jpg"), "", "cut off")
    assert findings.as_json() == {
        "counts": {"corrupt_image": 1},
        "listed": [{"kind": "corrupt_image", "file": "a.jpg", "entry": "", "problem": "cut off"}],
    }


def test_without_a_collector_a_fault_is_an_error_that_names_file_and_line() -> None:
    with pytest.raises(DataError, match=r"^set/instances_train\.json:3: what\?$"):
        Entries(FILE).fault("malformed_entry", 3, "what?")
    Entries(FILE).note("box_clipped", 3, "what strict reading passes over")


def test_what_follows_a_fault_inside_an_entry_is_skipped() -> None:
    findings = Findings()
    seen = []
    for number, text in enumerate(["1", "x", "3"], start=1):
        with Entries(FILE, findings).entry(number):
            seen.append(int(text))
    assert seen == [1, 3]
    assert [finding.entry for finding in findings.listed] == ["2"]


SIDE = st.integers(-30, 130)


@given(SIDE, SIDE, SIDE, SIDE)
def test_a_framed_box_is_what_the_box_and_the_frame_share(x1: int, y1: int, x2: int, y2: int) -> None:
    findings = Findings()
    box = Entries(FILE, findings).framed(1, (x1, y1, x2, y2), 100, 80)
    columns = sorted(set(range(x1, x2)) & set(range(100)))
    rows = sorted(set(range(y1, y2)) & set(range(80)))
    if not columns or not rows:
        assert box is None
        assert findings.counts() in ({"box_empty": 1}, {"box_outside": 1})
        assert ("box_empty" in findings.counts()) == (x2 <= x1 or y2 <= y1)
        return
    assert box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    cut = x1 < -2 or y1 < -2 or x2 > 102 or y2 > 82
    assert findings.counts() == ({"box_clipped": 1} if cut else {})


def test_the_kinds_that_reports_rely_on_exist() -> None:
    assert {
        "corrupt_image",
        "missing_image",
        "malformed_entry",
        "unknown_class",
        "box_outside",
        "box_clipped",
        "empty_annotation",
    } <= set(KINDS)
