"""Alerts through crashes: whatever happens, the outbox holds the events of an uninterrupted run."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge.alerts.machine import AlertMachine
from edge.alerts.state import Transition, resumable
from edge.alerts.writer import AlertWriter
from edge.counting import FrameCounts, PromptCounts
from edge.events import FrameFacts, Session
from edge.outbox.outbox import Outbox
from firmware_cfg.errors import OutboxError
from firmware_cfg.messages import Event
from firmware_cfg.prompt_list import PromptList

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
BOTH = ("car", "boat")
LISTS: tuple[tuple[str, ...], ...] = (BOTH, ("boat", "car"), ("car",), ("boat",))


def bank(prompt_ids: tuple[str, ...]) -> Any:
    rules = [{"when": "count >= 2", "clear": "count < 1"}, {"when": "count == 3"}]
    prompts = [{"id": each, "text": each, "alerts": rules} for each in prompt_ids]
    return SimpleNamespace(
        prompt_list=PromptList.model_validate({"prompts": prompts}),
        list_sha256="a" * 64,
        thresholds=dict.fromkeys(prompt_ids, 0.5),
    )


class ThroughCrashes(RuleBasedStateMachine):
    """A daemon that is killed, against a machine that is not; both see the same frames and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "outbox.db")
        self.bank, self.life = bank(BOTH), 0
        self.ids = count(1)
        self.oracle = AlertMachine(self.bank.prompt_list)
        self.expected: list[tuple[str, str, int, str, int]] = []
        self.number = 0
        self.outbox: Outbox | None = None
        self.start()

    def teardown(self) -> None:
        assert self.outbox is not None
        self.outbox.close()
        self.folder.cleanup()

    def start(self) -> None:
        self.outbox = outbox = Outbox(self.path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("edge.alerts.writer.kernel_boot_id", lambda: f"life {self.life}")
            session = Session("bird", "5e55", NOW, outbox.boot_id, "a" * 64, "1")
            self.writer = AlertWriter(outbox, session)
        resumed = resumable(outbox.kept_alerts(), device="bird", kernel_boot=f"life {self.life}")
        self.machine = AlertMachine(self.bank.prompt_list, resume=resumed)
        self.writer.take_over([each.alert_id for each in self.machine.active])

    def facts(self, of: Any = None) -> FrameFacts:
        captured = NOW + timedelta(seconds=self.number)
        return FrameFacts(self.number, captured, self.number, (128, 64), "fp32", of or self.bank)

    def look(self, machine: AlertMachine, cars: int, boats: int) -> list[Transition]:
        numbers = {"car": PromptCounts(count=cars), "boat": PromptCounts(count=boats)}
        # Always the same time: an update needs a second to pass, and updates are not what is compared.
        return machine.update(FrameCounts(numbers), [], 0.0)

    def expect(self, transitions: list[Transition]) -> None:
        for each in transitions:
            self.expected.append((each.kind, each.prompt_id, each.rule_index, each.reason, self.number))

    def expect_restart(self, ended: list[Transition]) -> None:
        self.expected += [("clear", each.prompt_id, each.rule_index, "restart", -1) for each in ended]

    @rule(cars=st.integers(0, 3), boats=st.integers(0, 3), killed=st.booleans(), refused=st.booleans())
    def frame(self, cars: int, boats: int, killed: bool, refused: bool) -> None:
        self.expect(self.look(self.oracle, cars, boats))
        found = self.look(self.machine, cars, boats)
        if killed:  # between the frame and its events: the next life sees the frame again
            self.crash()
            found = self.look(self.machine, cars, boats)
        assert self.outbox is not None
        if refused and found:
            self.outbox._file.run("PRAGMA query_only = 1")
            with pytest.raises(OutboxError):
                self.writer.write(found, self.facts(), {})
            self.outbox._file.run("PRAGMA query_only = 0")
        self.writer.write(found, self.facts(), {})
        self.number += 1

    @rule()
    def crash(self) -> None:
        assert self.outbox is not None
        self.outbox.close()
        self.start()

    @rule()
    def reboot(self) -> None:
        ended = sorted(self.machine.active, key=_id)  # the order in which the outbox has them
        self.oracle.close("restart")
        self.life += 1
        self.crash()
        self.expect_restart(ended)
        assert self.machine.active == ()

    @rule(prompt_ids=st.sampled_from(LISTS), at_restart=st.booleans())
    def adopt(self, prompt_ids: tuple[str, ...], at_restart: bool) -> None:
        before, self.bank = self.bank, bank(prompt_ids)
        ended = self.oracle.adopt(self.bank.prompt_list, self.bank.thresholds)
        if at_restart:  # the list was changed while the daemon was dead
            gone = sorted((each for each in self.machine.active if each.prompt_id not in prompt_ids), key=_id)
            self.crash()
            self.expect_restart(gone)
        else:
            self.expect(ended)
            found = self.machine.adopt(self.bank.prompt_list, self.bank.thresholds)
            self.writer.write(found, self.facts(before), {})

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        assert self.outbox is not None
        waiting = [message.id for message in self.outbox.pending(1000)]
        self.outbox.done(*waiting[: data.draw(st.integers(0, len(waiting)))])

    @invariant()
    def the_events_are_those_of_an_uninterrupted_run(self) -> None:
        assert self.outbox is not None
        rows = self.outbox._file.all("SELECT payload FROM events ORDER BY id")
        written = [Event.from_payload(payload) for (payload,) in rows]
        index = {"count >= 2": 0, "count < 1": 0, "count == 3": 1, "count < 3 or count > 3": 1}
        rule_of: dict[str, int] = {}
        for event in written:
            assert (event.alert_id in rule_of) is (event.msg_type != "raise")  # one raise, and it comes first
            rule_of.setdefault(event.alert_id, index.get(event.reason, -1))
        assert [
            (e.msg_type, e.prompt, rule_of[e.alert_id], e.reason, -1 if e.reason == "restart" else e.frame)
            for e in written
        ] == self.expected
        assert [event.seq for event in written] == list(range(1, len(written) + 1))
        assert len({event.event_id for event in written}) == len(written)
        ended = [event.alert_id for event in written if event.msg_type == "clear"]
        assert len(set(ended)) == len(ended)
        assert set(self.outbox.kept_alerts()) == rule_of.keys() - set(ended)


def _id(transition: Transition) -> str:
    return transition.alert_id


ThroughCrashes.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestThroughCrashes = ThroughCrashes.TestCase
