"""Events that were missed are found, asked for, and given up when nobody has them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from console.gaps import MOST_TRIES, SeqGaps
from firmware_cfg.messages import ReplayAnswer
from tests.console.conftest import NOW

LATER = NOW + timedelta(seconds=11)


def seen(*numbers: int) -> SeqGaps:
    gaps = SeqGaps()
    for number in numbers:
        gaps.saw("b1", number, NOW)
    return gaps


def answer(boot: str, *missing: tuple[int, int]) -> ReplayAnswer:
    return ReplayAnswer(device="kestrel-1", sent_at=NOW, boot_id=boot, sent=0, missing=missing)


def test_the_first_event_of_all_is_where_counting_begins() -> None:
    assert seen(17, 18).open == ()


def test_an_overtaken_event_fills_its_gap_before_anybody_asks() -> None:
    gaps = seen(1, 3)
    assert gaps.open == ((2, 2),)
    assert gaps.saw("b1", 2, NOW)
    assert gaps.open == ()


def test_what_is_missing_where_the_boot_changes_is_asked_under_both() -> None:
    gaps = seen(1, 2)
    gaps.saw("b2", 5, NOW)
    (first,) = gaps.due(LATER)
    assert not gaps.due(LATER)
    (second,) = gaps.due(LATER + timedelta(seconds=31))
    assert {first.boot_id, second.boot_id} == {"b1", "b2"}
    assert first.ranges == second.ranges == ((3, 4),)
    gaps.answered(answer("b1", (3, 4)))
    assert gaps.open == ((3, 4),)
    gaps.answered(answer("b2", (4, 4)))
    assert (gaps.open, gaps.lost) == (((3, 3),), 1)


def test_who_never_answers_is_not_asked_for_ever() -> None:
    gaps, now, asked = seen(1, 9), LATER, 0
    for _ in range(20):
        asked += len(gaps.due(now))
        now += timedelta(minutes=1)
    assert (asked, gaps.open, gaps.lost) == (MOST_TRIES, (), 7)


def test_an_outbox_that_was_lost_counts_from_the_beginning() -> None:
    gaps = seen(900_000, 900_002)
    gaps.saw("b9", 1, NOW)
    assert gaps.open == ()
    gaps.saw("b9", 3, NOW)
    assert gaps.open == ((2, 2),)


def test_an_outbox_that_was_lost_is_noticed_however_few_events_it_had() -> None:
    gaps = seen(50_000)
    gaps.saw("b9", 6, NOW)
    gaps.saw("b9", 8, NOW)
    assert gaps.open == ((7, 7),)


def test_an_event_of_an_earlier_life_that_is_sent_again_is_no_new_outbox() -> None:
    gaps = seen(50, 60)
    assert not gaps.saw("b0", 7, NOW, historical=True)
    assert gaps.open == ((51, 59),)


def test_what_one_answer_has_no_room_for_is_asked_for_until_it_has_come() -> None:
    gaps, now, came = seen(0, 6001), LATER, 0
    while gaps.open:
        (request,) = gaps.due(now)
        (first, last) = request.ranges[0]
        upto = min(first + 999, last)
        for number in range(first, upto + 1):
            gaps.saw("b1", number, now, historical=True)
        came += upto + 1 - first
        left = ((upto + 1, last),) if upto < last else ()
        gaps.answered(answer("b1").model_copy(update={"left": left}))
        now += timedelta(seconds=1)
    assert (came, gaps.lost) == (6000, 0)


@given(st.permutations(range(2, 30)), st.integers(0, 27))
def test_in_whatever_order_events_come_what_is_open_is_what_did_not(order: list[int], count: int) -> None:
    gaps = seen(1)
    came = order[:count]
    for number in came:
        gaps.saw("b1", number, NOW)
    missing = set(range(1, max([1, *came]))) - {1, *came}
    assert {number for first, last in gaps.open for number in range(first, last + 1)} == missing
