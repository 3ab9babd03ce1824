"""What is sent is what changed, and applying it gives what is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.web.render import Memo
from console.web.screen import Screen

REGION = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6)


def applied(shown: dict[str, int], change: dict[str, object]) -> dict[str, int]:
    """As page.js does it."""
    shown = {**shown, **change.get("set", {})}  # type: ignore[dict-item]
    order = change.get("order")
    return shown if order is None else {key: shown[key] for key in order}  # type: ignore[attr-defined]


@given(st.lists(REGION, min_size=1, max_size=6))
def test_a_browser_that_applies_every_change_shows_what_is_there(looks: list[dict[str, int]]) -> None:
    screen, shown = Screen(), {}
    for region in looks:
        change = screen.changes({"rows": region}).get("rows", {})
        shown = applied(shown, change)
        assert list(shown.items()) == list(region.items())


def test_html_is_rendered_once_for_what_it_depends_on_and_not_kept_for_ever() -> None:
    memo, rendered = Memo(most=2), []

    def render(key: int) -> str:
        rendered.append(key)
        return f"<{key}>"

    assert [memo(key, lambda key=key: render(key)) for key in (1, 1, 2, 1, 3, 1)] == [  # type: ignore[misc]
        *("<1>", "<1>", "<2>", "<1>", "<3>", "<1>")
    ]
    assert rendered == [1, 2, 3, 1]


def test_what_did_not_change_is_not_sent() -> None:
    screen = Screen()
    screen.changes({"rows": {"a": 1, "b": 2}, "head": {"x": 1}})
    assert screen.changes({"rows": {"a": 1, "b": 2}, "head": {"x": 1}}) == {}
    assert screen.changes({"rows": {"a": 1, "b": 3}, "head": {"x": 1}}) == {"rows": {"set": {"b": 3}}}
    assert screen.changes({"rows": {"b": 3}, "head": {"x": 1}}) == {"rows": {"order": ["b"]}}


def test_a_region_that_was_always_empty_is_sent_once() -> None:
    screen = Screen()
    assert screen.changes({"rows": {}}) == {"rows": {"order": []}}
    assert screen.changes({"rows": {}}) == {}
