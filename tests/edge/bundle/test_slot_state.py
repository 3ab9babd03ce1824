"""The states that two slots can be in: whatever is done in whatever order, one of them can fly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.slot_state import TRIAL_STARTS, Installed, SlotState, utc_now

STEPS = ("install", "lose", "activate", "start", "give back", "confirm", "fall back")


def after(state: SlotState, step: str, number: int) -> SlotState:
    """The state after a step, where it is allowed; as `BundleSlots` and a flight take them."""
    if step in ("install", "lose") and not state.on_trial:
        new = Installed(manifest_sha256=f"{number:064x}", model=f"m{number}", installed_at=utc_now())
        return state.with_installed(state.idle, new if step == "install" else None)
    if step == "activate" and state.idle in state.installed and not state.on_trial:
        return state.activated()
    if step == "start":
        return state.started()
    if step == "give back":
        return state.given_back()
    if step == "confirm":
        return state.confirmed()
    if step == "fall back" and state.previous is not None:
        return state.fallen_back("it failed", automatic=True)
    return state


@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_no_order_of_steps_touches_the_active_slot_or_loses_the_way_back(steps: list[str]) -> None:
    state = SlotState()
    for number, step in enumerate(steps):
        before, state = state, after(state, step, number)
        assert SlotState.model_validate_json(state.model_dump_json()) == state
        if before.active is not None:
            assert state.active is not None
            assert state.installed[before.active] == before.installed[before.active]
        if state.on_trial:
            assert state.previous is not None
            assert 0 <= (state.starts_left or 0) <= TRIAL_STARTS
        assert state.idle != state.active


@given(st.integers(0, 10), st.integers(0, 10))
def test_starts_are_counted_between_none_and_all(starts: int, given_back: int) -> None:
    state = SlotState()
    for number in range(2):
        state = after(after(state, "install", number), "activate", number)
    for _ in range(starts):
        state = state.started()
    assert state.starts_left == max(0, TRIAL_STARTS - starts)
    for _ in range(given_back):
        state = state.given_back()
    assert state.starts_left == min(TRIAL_STARTS, max(0, TRIAL_STARTS - starts) + given_back)
    assert state.confirmed().given_back().starts_left is None
