"""Rules over counts: when alerts are raised, updated and cleared, under which list and after which crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge import events
from edge.alerts.machine import MAX_BOXES, AlertMachine
from edge.alerts.state import KeptAlert, resumable, rule_identity
from edge.counting import FrameCounts, PromptCounts
from edge.events import FrameFacts, Session
from edge.geo.ground import GroundPoints
from edge.kernel_boot import kernel_boot_id
from edge.lookup import Place
from edge.tracking import TrackedPlace
from firmware_cfg.messages import Alert
from firmware_cfg.prompt_list import PromptList

ZONES = {"gate": [[0, 0], [1, 0], [1, 1]], "yard": [[0, 0], [1, 1], [0, 1]]}
LINES = {"road": [[0, 0.5], [1, 0.5]]}


NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)


def alert_list(*alerts, kind="object", **prompt):
    prompts = [{"id": "car", "text": "a car", "kind": kind, "alerts": list(alerts), **prompt}]
    return PromptList.model_validate({"version": 1, "prompts": prompts, "zones": ZONES, "lines": LINES})


def car(track_id, score=0.8, confirmed=True):
    box = (10.0 * track_id, 0.0, 10.0 * track_id + 8, 8.0)
    return TrackedPlace(Place("car", score, 2 * score, box), track_id, 1.0, confirmed)


class Scene:
    """Feeds an AlertMachine with as many cars as it is told, ten frames a second."""

    def __init__(self, prompt_list, **options):
        self.numbers = count(1)
        self.time_s = 0.0
        self.start(prompt_list, **options)

    def start(self, prompt_list, **options):
        self.machine = AlertMachine(prompt_list, new_id=lambda: f"alert{next(self.numbers)}", **options)

    def see(self, cars, *, step_s=0.1, zones=None, ground=None, **counts):
        tracked = cars if isinstance(cars, list) else [car(n) for n in range(cars)]
        prompt = {
            "count": len(tracked),
            "score": max((t.place.score for t in tracked), default=0.0),
            "place_scores": {t.track_id: t.place.score for t in tracked},
            **counts,
        }
        inside = {t.track_id: frozenset((zones or {}).get(t.track_id, ())) for t in tracked}
        transitions = self.machine.update(
            FrameCounts({"car": PromptCounts(**prompt)}, inside), tracked, self.time_s, ground
        )
        self.time_s += step_s
        return transitions

    def kinds(self, *cars, **options):
        """What each frame brought, by its first letter; a dot for nothing."""
        return "".join("".join(t.kind[0] for t in self.see(n, **options)) or "." for n in cars)


def test_a_rule_raises_at_once_and_clears_when_it_no_longer_holds():
    scene = Scene(alert_list({"when": "count >= 2"}))
    assert scene.kinds(0, 1, 2, 2, 1, 0) == "..r.c."


def test_every_step_of_an_alert_bears_one_id_and_the_next_alert_another():
    scene = Scene(alert_list({"when": "count >= 1"}))
    steps = [t for n in (1, 2, 0, 3) for t in scene.see(n, step_s=2.0)]
    assert [(t.kind, t.alert_id) for t in steps] == [
        ("raise", "alert1"),
        ("update", "alert1"),
        ("clear", "alert1"),
        ("raise", "alert2"),
    ]


def test_who_looks_at_the_active_alerts_while_one_ends_sees_it_or_not():
    raised = Scene(alert_list({"when": "count >= 1"}))
    raised.see(1)
    (watch,) = raised.machine._watches
    looks = [watch.active, None, None]

    class Ends:
        active = property(lambda self: looks.pop(0))

    raised.machine._watches = [Ends()]
    assert [each.alert_id for each in raised.machine.active] == ["alert1"]
    assert raised.machine.active == ()


def test_ids_are_unique_without_being_told_how():
    machine = AlertMachine(alert_list({"when": "count < 1"}, {"when": "count < 2"}))
    first, second = machine.update(FrameCounts({"car": PromptCounts()}), [], 0.0)
    assert first.alert_id != second.alert_id
    assert (first.rule_index, second.rule_index) == (0, 1)


def test_the_rule_must_hold_for_its_whole_time():
    scene = Scene(alert_list({"when": "count >= 2", "for": "3s"}))
    assert scene.kinds(*[2] * 29, 1, *[2] * 31) == "." * 60 + "r"


def test_hysteresis_bridges_what_lies_between():
    scene = Scene(alert_list({"when": "count >= 5", "clear": "count < 3"}))
    assert scene.kinds(5, 4, 3, 4, 3, 2, 3, 4, 5) == "r....c..r"


def test_no_new_alert_within_the_cooldown_but_at_its_end():
    scene = Scene(alert_list({"when": "count >= 1", "cooldown": "1s"}))
    assert scene.kinds(1, 0, 1, *[1] * 8, 1) == "rc" + "." * 9 + "r"


def test_hold_time_runs_during_the_cooldown():
    scene = Scene(alert_list({"when": "count >= 1", "cooldown": "1s", "for": "500ms"}))
    assert scene.kinds(*[1] * 6, 0, *[1] * 10) == ".....rc" + "." * 9 + "r"


def test_updates_come_when_the_value_changed_and_not_faster_than_one_a_second():
    scene = Scene(alert_list({"when": "count >= 1"}))
    assert scene.kinds(*[1] * 15) == "r" + "." * 14
    assert scene.kinds(*range(2, 27)) == "u.........u.........u...."


def test_a_change_that_was_undone_is_not_reported():
    scene = Scene(alert_list({"when": "count >= 1"}))
    assert scene.kinds(1, 2, 2, *[1] * 20) == "r" + "." * 22


def test_small_changes_of_a_score_are_not_reported():
    scene = Scene(alert_list({"when": "score >= 0.5"}))
    levels = [0.6, 0.62, 0.58, 0.61, 0.7]
    assert scene.kinds(*[[car(1, level)] for level in levels], step_s=2.0) == "r...u"


def test_what_a_transition_tells():
    scene = Scene(alert_list({"when": "unique > 9 or count >= 2", "severity": "critical"}, threshold=0.35))
    (raised,) = scene.see([car(4, 0.5), car(7, 0.9)], unique=3)
    assert (raised.kind, raised.prompt_id, raised.rule_index) == ("raise", "car", 0)
    assert (raised.value, raised.count_kind, raised.severity) == (2, "count", "critical")
    assert (raised.score, raised.raw, raised.threshold) == (0.9, 1.8, 0.35)
    assert raised.track_ids == (7, 4)
    assert raised.boxes == ((70, 0, 78, 8), (40, 0, 48, 8))
    assert raised.reason == "unique > 9 or count >= 2"
    (cleared,) = scene.see([], unique=3)
    assert (cleared.value, cleared.boxes, cleared.reason) == (0, (), "unique <= 9 and count < 2")


def test_a_transition_tells_where_its_boxes_stand_in_their_order():
    cars = [car(1, score=0.6), car(2, score=0.9), car(3, score=0.7)]
    ground = GroundPoints(
        np.array([47.1, 47.2, np.nan]), np.array([8.1, 8.2, np.nan]), np.array([5.0, 6.0, np.nan])
    )
    scene = Scene(alert_list({"when": "count >= 2"}))
    (raised,) = scene.see(cars, ground=ground)
    assert raised.track_ids == (2, 3, 1)
    assert raised.points == ((8.2, 47.2, 6.0), None, (8.1, 47.1, 5.0))
    assert scene.machine.active[0].points == raised.points
    resumed = resumable(states(scene, alert_list({"when": "count >= 2"})), device="bird", kernel_boot=BOOT)
    assert resumed[0].latest.points == raised.points
    (cleared,) = scene.see(0)
    assert (cleared.kind, cleared.points) == ("clear", ())


def test_the_threshold_in_force_is_reported_where_the_list_has_none():
    scene = Scene(alert_list({"when": "count >= 1"}), thresholds={"car": 0.41})
    assert scene.see(1)[0].threshold == 0.41
    assert Scene(alert_list({"when": "count >= 1"})).see(1)[0].threshold is None


@pytest.mark.parametrize(
    ("cars", "certainty"),
    [
        ([car(1, 0.6)], "observed"),
        ([car(1, 0.6, confirmed=False)], "likely"),
        ([car(1, 0.6, confirmed=False), car(2, 0.55)], "likely"),
        ([car(1, 0.45)], "possible"),
        ([], "likely"),
    ],
)
def test_certainty(cars, certainty):
    scene = Scene(alert_list({"when": "count < 9"}, review_below=0.5))
    assert scene.see(cars)[0].certainty == certainty


def test_a_clear_keeps_the_certainty_of_its_alert():
    scene = Scene(alert_list({"when": "count >= 1"}, review_below=0.5))
    scene.see([car(1, 0.45)])
    assert scene.see([])[0].certainty == "possible"


def test_a_scene_prompt_reports_its_own_score():
    scene = Scene(alert_list({"when": "score >= 0.5"}, kind="scene", review_below=0.7))
    (raised,) = scene.see([], score=0.6, raw=0.22)
    assert (raised.score, raised.raw, raised.certainty, raised.boxes) == (0.6, 0.22, "possible", ())
    scene.time_s += 1.0
    (updated,) = scene.see([], score=0.9, raw=0.3)
    assert (updated.kind, updated.certainty) == ("update", "likely")


def test_zones_of_an_alert_restrict_count_and_boxes():
    scene = Scene(alert_list({"when": "count >= 2", "zones": ["gate", "yard"]}))
    assert scene.see(3, zones={0: ["gate"]}) == []
    (raised,) = scene.see(3, zones={0: ["gate"], 2: ["yard", "gate"]})
    assert raised.value == 2
    assert set(raised.track_ids) == {0, 2}


def test_count_in_a_zone_reports_the_boxes_of_that_zone():
    scene = Scene(alert_list({"when": "count in gate >= 1"}))
    counts = PromptCounts(count=2, zones={"gate": 1})
    places = {1: frozenset({"gate"}), 2: frozenset({"yard"})}
    (raised,) = scene.machine.update(FrameCounts({"car": counts}, places), [car(1), car(2)], 0.0)
    assert (raised.count_kind, raised.value, raised.track_ids) == ("count_in", 1, (1,))


def test_crossings_and_unique_counts_can_alert():
    scene = Scene(alert_list({"when": "crossing road in >= 3"}, {"when": "unique >= 2"}))
    assert scene.see(0, unique=1, crossings={("road", "in"): 2, ("road", "out"): 9}) == []
    both = scene.see(0, unique=2, crossings={("road", "in"): 3, ("road", "out"): 9})
    assert [(t.kind, t.count_kind, t.value) for t in both] == [
        ("raise", "crossing", 3),
        ("raise", "unique", 2),
    ]


def test_an_event_never_carries_more_than_its_share_of_boxes():
    (raised,) = Scene(alert_list({"when": "count >= 1"})).see(MAX_BOXES + 50)
    assert len(raised.boxes) == len(raised.track_ids) == MAX_BOXES
    assert raised.value == MAX_BOXES + 50


def test_rules_that_hold_together_with_their_clear_do_not_flicker():
    scene = Scene(alert_list({"when": "count >= 1", "clear": "unique >= 1"}))
    assert scene.kinds(1, 1, 1, unique=1) == "..."
    assert scene.kinds(1, unique=0) == "r"
    assert scene.kinds(1, 1, unique=1) == "c."


def test_closing_clears_every_active_alert_with_the_reason():
    scene = Scene(alert_list({"when": "count >= 1"}, {"when": "count >= 2"}, {"when": "count >= 9"}))
    scene.see(2)
    assert [t.alert_id for t in scene.machine.active] == ["alert1", "alert2"]
    closed = scene.machine.close("stopped")
    assert [(t.kind, t.alert_id, t.reason) for t in closed] == [
        ("clear", "alert1", "stopped"),
        ("clear", "alert2", "stopped"),
    ]
    assert scene.machine.active == ()
    assert scene.machine.close("stopped") == []


def test_time_that_runs_backwards_cuts_neither_hold_nor_cooldown_short():
    scene = Scene(alert_list({"when": "count >= 1", "for": "1s", "cooldown": "1s"}))
    scene.time_s = 100.0
    assert scene.kinds(*[1] * 6) == "......"
    scene.time_s = 0.0
    assert scene.kinds(*[1] * 7) == "." * 5 + "r."


def test_another_list_keeps_the_alerts_of_the_rules_that_it_shares():
    few, many = {"when": "count >= 1"}, {"when": "count >= 2", "for": "1s"}
    scene = Scene(alert_list(few, many, {"when": "unique >= 1"}))
    scene.see(2, unique=1)
    ended = scene.machine.adopt(alert_list(many, few), {"car": 0.7})
    assert [(t.kind, t.alert_id, t.reason) for t in ended] == [("clear", "alert2", "prompts changed")]
    assert [(t.alert_id, t.rule_index) for t in scene.machine.active] == [("alert1", 1)]
    assert scene.kinds(*[2] * 9) == "........."
    (raised,) = scene.see(2)  # a second after the hold began, under the list before
    assert (raised.kind, raised.rule_index, raised.threshold) == ("raise", 0, 0.7)
    assert [t.alert_id for t in scene.see(0)] == ["alert3", "alert1"]


def test_another_list_keeps_cooldowns_too():
    cooled = {"when": "count >= 1", "cooldown": "1s"}
    scene = Scene(alert_list(cooled))
    assert scene.kinds(1, 0) == "rc"
    assert scene.machine.adopt(alert_list({"when": "count >= 9"}, cooled), {}) == []
    assert scene.kinds(*[1] * 10) == "." * 9 + "r"


@pytest.mark.parametrize(
    "changes",
    [
        {"rule": {"when": "count >= 2"}},
        {"rule": {"clear": "count == 0"}},
        {"rule": {"severity": "info"}},
        {"rule": {"zones": ["gate"]}},
        {"text": "a red car"},
        {"id": "auto"},
    ],
)
def test_what_changes_a_rule_ends_its_alert(changes):
    fields = dict(changes)
    rule = {"when": "count >= 1", **fields.pop("rule", {})}
    scene = Scene(alert_list({"when": "count >= 1"}))
    scene.see(1)
    (ended,) = scene.machine.adopt(alert_list(rule, **fields), {})
    assert (ended.alert_id, ended.kind, ended.prompt_id) == ("alert1", "clear", "car")
    assert scene.machine.active == ()


def test_a_new_threshold_or_another_spelling_of_a_rule_ends_nothing():
    scene = Scene(alert_list({"when": "count >= 1", "for": "0s"}, threshold=0.3))
    scene.see(1)
    respelt = {"when": "count>=1.0", "clear": "count < 1"}
    assert scene.machine.adopt(alert_list(respelt, threshold=0.4, review_below=0.6), {}) == []
    assert [t.alert_id for t in scene.machine.active] == ["alert1"]


def test_two_rules_alike_keep_an_alert_each():
    twice = alert_list({"when": "count >= 1"}, {"when": "count >= 1"})
    scene = Scene(twice)
    scene.see(1)
    assert scene.machine.adopt(twice, {}) == []
    assert [(t.alert_id, t.rule_index) for t in scene.machine.active] == [("alert1", 0), ("alert2", 1)]
    resumed = resumable(states(scene, twice), device="bird", kernel_boot=BOOT)
    again = Scene(twice, resume=resumed)
    assert [(t.alert_id, t.rule_index) for t in again.machine.active] == [("alert1", 0), ("alert2", 1)]
    (ended,) = scene.machine.adopt(alert_list({"when": "count >= 1"}), {})
    assert ended.alert_id == "alert2"


BOOT = "a-life-of-the-machine"


def state_of(transition, prompt_list):
    """What the outbox keeps of an active alert."""
    bank = SimpleNamespace(prompt_list=prompt_list, list_sha256="a" * 64, thresholds={"car": 0.4})
    session = Session("bird", "5e55", NOW, "b007", "a" * 64, "1")
    frame = FrameFacts(7, NOW, 123, (200, 100), "fp32", bank)
    event = events.event(session, transition, frame, event_id="e1", seq=9, now=NOW, clock_synced=True)
    prompt = prompt_list.prompt(transition.prompt_id)
    return KeptAlert(
        alert=Alert.from_event(event, NOW),
        rule=rule_identity(prompt, prompt.alerts[transition.rule_index]),
        term=transition.term,
        kernel_boot=BOOT,
    ).to_state()


def states(scene, prompt_list):
    return {t.alert_id: state_of(t, prompt_list) for t in scene.machine.active}


def test_an_alert_goes_on_after_a_crash_as_if_there_had_been_none():
    rules = alert_list({"when": "count >= 2"}, {"when": "count in gate >= 1", "severity": "critical"})
    in_gate = FrameCounts({"car": PromptCounts(count=1, zones={"gate": 1})}, {1: frozenset({"gate"})})
    scene = Scene(rules, thresholds={"car": 0.4})
    (raised,) = scene.machine.update(in_gate, [car(1)], 0.0)
    resumed = resumable(states(scene, rules), device="bird", kernel_boot=BOOT)
    again = Scene(rules, resume=resumed)
    (active,) = again.machine.active
    assert replace(active, kind="raise", boxes=raised.boxes) == raised
    assert active.boxes[0] == pytest.approx(raised.boxes[0])
    assert again.machine.update(in_gate, [car(1)], 0.0) == []
    left = FrameCounts({"car": PromptCounts(count=1, zones={"gate": 0})}, {})
    (cleared,) = again.machine.update(left, [], 0.1)
    assert (cleared.kind, cleared.alert_id, cleared.count_kind) == ("clear", raised.alert_id, "count_in")


@pytest.mark.parametrize(
    ("device", "boot", "after"),
    [
        ("other", BOOT, {"when": "count >= 1"}),
        ("bird", "another-life", {"when": "count >= 1"}),
        ("bird", BOOT, {"when": "count >= 3"}),
    ],
)
def test_no_alert_goes_on_for_another_device_after_a_reboot_or_without_its_rule(device, boot, after):
    before = alert_list({"when": "count >= 1"})
    scene = Scene(before)
    scene.see(1)
    resumed = resumable(states(scene, before), device=device, kernel_boot=boot)
    assert Scene(alert_list(after), resume=resumed).machine.active == ()


def test_states_that_cannot_be_read_or_tell_too_little_do_not_go_on():
    rules = alert_list({"when": "count >= 1"})
    scene = Scene(rules)
    scene.see(1)
    (state,) = states(scene, rules).values()
    kept = KeptAlert.from_state(state)
    assert kept.to_state() == state
    old = kept.alert.to_payload().decode()  # as the first version kept it
    assert KeptAlert.from_state(old) == KeptAlert(alert=kept.alert)
    assert resumable({"a": "{broken", "b": old, "c": "[]"}, device="bird", kernel_boot=BOOT) == ()


def test_the_machine_tells_its_life_or_that_it_cannot(tmp_path):
    assert kernel_boot_id() == kernel_boot_id() is not None
    assert kernel_boot_id(tmp_path / "missing") is None
    (tmp_path / "empty").write_text("\n")
    assert kernel_boot_id(tmp_path / "empty") is None


RULES = (
    {"when": "count >= 3", "clear": "count < 2", "for": "500ms", "cooldown": "1s"},
    {"when": "count >= 1 and score >= 0.5"},
    {"when": "unique >= 2 or count == 4", "clear": "count == 0", "cooldown": "300ms"},
)


class AlertLife(RuleBasedStateMachine):
    """Whatever the frames bring, each alert is raised once, cleared once, and updated only in between.

    Lists that come and go and crashes change nothing in that, nor in who is active: rules are known by their
    number in RULES, `self.rules` are those of the list in force.
    """

    def __init__(self):
        super().__init__()
        self.rules = (0, 1, 2)
        self.scene = Scene(self.list())
        self.open, self.ended, self.cleared_at, self.updated_at, self.held = {}, set(), {}, {}, 0.0
        self.born = dict.fromkeys(self.rules, 0.0)  # since when a rule has been in force

    def list(self):
        return alert_list(*[RULES[number] for number in self.rules])

    @rule(
        scores=st.lists(st.sampled_from([0.2, 0.5, 0.9]), max_size=5),
        unique=st.integers(0, 3),
        step_s=st.sampled_from([0.1, 0.25, 1.0]),
    )
    def frame(self, scores, unique, step_s):
        now = self.scene.time_s
        cars = [car(n, score) for n, score in enumerate(scores)]
        self.held = self.held if len(cars) >= 3 else now + step_s
        for t in self.scene.see(cars, unique=unique, step_s=step_s):
            self.take(t, now, self.rules[t.rule_index])

    @precondition(lambda self: self.open)
    @rule()
    def close(self):
        for t in self.scene.machine.close("stopped"):
            assert t.reason == "stopped"
            self.take(t, self.scene.time_s, self.rules[t.rule_index])
        assert not self.open
        self.cleared_at.clear()  # whoever closes starts afresh: no cooldown

    @rule(rules=st.permutations([0, 1, 2]), number=st.integers(0, 3))
    def adopt(self, rules, number):
        before, self.rules = self.rules, tuple(rules[:number])
        for t in self.scene.machine.adopt(self.list(), {}):
            assert (t.kind, t.reason) == ("clear", "prompts changed")
            (gone,) = (rule for rule, alert_id in self.open.items() if alert_id == t.alert_id)
            assert gone not in self.rules
            self.take(t, self.scene.time_s, gone)
        assert set(self.open) <= set(self.rules)
        for gone in set(before) - set(self.rules):
            self.cleared_at.pop(gone, None)
        self.born = {rule: self.born.get(rule, self.scene.time_s) for rule in self.rules}

    @rule()
    def crash(self):
        kept = states(self.scene, self.list())
        self.scene.start(self.list(), resume=resumable(kept, device="bird", kernel_boot=BOOT))
        self.cleared_at.clear()  # what was not active is forgotten
        self.born = dict.fromkeys(self.rules, self.scene.time_s)

    def take(self, t, now, number):
        if t.kind == "raise":
            assert number not in self.open
            assert t.alert_id not in self.ended
            cooldown = {0: 1.0, 1: 0.0, 2: 0.3}[number]
            assert now >= self.cleared_at.get(number, -9) + cooldown - 1e-3
            if number == 0:
                assert now - max(self.held, self.born[number]) >= 0.5 - 1e-3
            self.open[number] = t.alert_id
        else:
            assert self.open[number] == t.alert_id
            if t.kind == "update":
                assert now >= self.updated_at[number] + 1 - 1e-3
            else:
                self.ended.add(self.open.pop(number))
                self.cleared_at[number] = now
        self.updated_at[number] = now

    @invariant()
    def active_alerts_are_the_open_ones(self):
        assert {self.rules[t.rule_index]: t.alert_id for t in self.scene.machine.active} == self.open


TestAlertLife = AlertLife.TestCase
TestAlertLife.settings = settings(max_examples=60, stateful_step_count=40)
