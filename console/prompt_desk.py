"""Prompt lists as an operator handles them: read, checked, pushed, rolled back."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from console.accounts import User
from console.history import History
from console.link import Link
from console.permits import ActionError, line_of, require_operator
from console.state import ControlRoom
from edge.prompts.intake import refuse_giants
from firmware_cfg.errors import BrokerError, ConfigError, ConfigErrors, RemoteclipError
from firmware_cfg.messages import PromptsAck
from firmware_cfg.prompt_list import load_prompt_bytes
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

ASKED_IN_VAIN = timedelta(seconds=30)
"""So long a drone that gave no list is not asked again, whoever wants to read it."""


class PromptDesk:
    """Every method takes the user who wants it, and raises RemoteclipError with one line for the page."""

    def __init__(
        self, room: ControlRoom, history: History, link: Link, *, now: Callable[[], datetime]
    ) -> None:
        self._room = room
        self._lists = room.prompt_lists
        self._history = history
        self._link = link
        self._now = now
        self._pushed: dict[str, tuple[str, str, datetime]] = {}  # device -> hash, by whom, when
        self._awaited: dict[str, str] = {}  # device -> hash of what it was sent from here
        self._flown: dict[str, str] = {}
        self._asking: dict[str, asyncio.Future[bytes]] = {}
        self._in_vain: dict[str, tuple[datetime, str]] = {}
        self._restore()
        self._lists.on_flown = self._flies
        room.on_list_answer = self._hear_answer

    async def text(self, user: User, device: str) -> tuple[str, str]:
        """Hash and text of the list that a drone should have; it is asked where none is known here."""
        line = line_of(self._room, device)
        known = self._lists.offered(device)
        if known is not None:
            return known
        if line.away:
            raise ActionError(f"{device} is {line.state}: its list is not known here")
        data = await self._ask(user, device)
        try:
            return self._room.note_text(data), data.decode("utf-8")
        except ValueError as error:
            raise ActionError(f"{device}: its list is no text: {error}") from error

    def check(self, text: str) -> list[ConfigError]:
        """Every problem in a list, in its order; none where a drone would take it. May take a while."""
        data = text.encode()
        try:
            refuse_giants(data, "list")
            load_prompt_bytes(data, "list")
        except ConfigErrors as errors:
            return list(errors.errors)
        except ConfigError as error:
            return [error]
        return []

    async def push(
        self, user: User, devices: Sequence[str], text: str, expected: dict[str, str | None]
    ) -> dict[str, str | None]:
        """Make it the list that these drones should have, also those that are away.

        Args:
            expected: hash of the list that the editor began with, by device. A drone that should have another
                one by now does not get this one.

        Returns:
            By device why it was not told, or None: what the drone makes of it comes as its `ack`.
        """
        require_operator(user)
        if problems := await asyncio.to_thread(self.check, text):
            raise ActionError(f"{len(problems)} problems, the first: {problems[0]}")
        data = text.encode()
        results = await asyncio.gather(
            *(self._push(user, each, data, expected.get(each)) for each in devices)
        )
        return dict(zip(devices, results, strict=True))

    async def rollback(self, user: User, device: str) -> None:
        """Give a drone the list that it flew before the one that it has, or should have."""
        require_operator(user)
        line_of(self._room, device)
        kept = await asyncio.to_thread(self._history.lists, device)
        current = self._room.wanted_sha256(device)
        older = next((each for each in kept if each.sha256 != current), None)
        if older is None:
            raise ActionError(
                f"{device}: no earlier list is known here (on the drone: remoteclip prompts rollback)"
            )
        await self._send(user, device, "rollback", older.text.encode())

    async def _push(self, user: User, device: str, data: bytes, expected: str | None) -> str | None:
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            line = line_of(self._room, device)
            if line.prompts is not None and device not in self._lists.in_force and not line.away:
                await self._secure(user, device)
            # From here to the sending nobody else has a turn: of two at once, one is the second.
            current = self._room.wanted_sha256(device)
            if expected is not None and current not in (expected, sha256):
                pushed = self._pushed.get(device)
                who = (
                    f" by {pushed[1]} at {pushed[2]:%H:%M:%S} UTC" if pushed and pushed[0] == current else ""
                )
                raise ActionError(
                    f"{device}: its list was changed meanwhile{who}; look at it, then push again"
                )
            await self._send(user, device, "push", data)
        except RemoteclipError as error:
            return str(error)
        return None

    async def _secure(self, user: User, device: str) -> None:
        """For a way back: what it has now may be known to the drone alone."""
        try:
            self._room.note_text(await self._ask(user, device))
        except (RemoteclipError, ValueError) as error:
            log.warning("%s: pushed without a way back from here: %s", device, error)

    async def _ask(self, user: User, device: str) -> bytes:
        """The list in force, asked of the drone: once for all who want it. Raises RemoteclipError."""
        at, problem = self._in_vain.get(device, (self._now() - ASKED_IN_VAIN, ""))
        if self._now() - at < ASKED_IN_VAIN:
            raise ActionError(problem)
        asking = self._asking.get(device)
        if asking is None:
            self._history.put_audit(user.name, "ask for the list", device)
            topics = Topics(device)
            question = self._link.ask(topics.prompts_get, b"", topics.prompts_list)
            asking = self._asking[device] = asyncio.ensure_future(question)
            asking.add_done_callback(lambda done: self._was_asked(device, done))
        data = await asyncio.shield(asking)  # who stops waiting does not stop it for the others
        if not data:
            raise ActionError(f"{device}: its list cannot be read there")
        return data

    def _was_asked(self, device: str, done: asyncio.Future[bytes]) -> None:
        del self._asking[device]
        self._in_vain.pop(device, None)
        error = None if done.cancelled() else done.exception()
        if error is not None or done.cancelled() or not done.result():
            problem = str(error or f"{device}: its list cannot be read there")
            self._in_vain[device] = self._now(), problem

    async def _send(self, user: User, device: str, action: str, data: bytes) -> None:
        """What becomes of it is in the audit log, too. Raises BrokerError."""
        now, sha256 = self._now(), hashlib.sha256(data).hexdigest()
        self._lists.sends(device, data)
        before = self._pushed.get(device), self._awaited.get(device)
        self._pushed[device], self._awaited[device] = (sha256, user.name, now), sha256
        self._room.changed(device)
        self._history.put_audit(user.name, action, device, sha256)
        try:
            await self._link.publish(Topics(device).prompts_desired, data, retain=True)
        except BrokerError as error:
            self._history.put_audit(user.name, f"{action}: not sent", device, sha256, str(error))
            self._lists.unsent(device, sha256)
            self._room.changed(device)
            if self._pushed[device] == (sha256, user.name, now):
                self._put_back(device, *before)
            raise

    def _put_back(self, device: str, pushed: tuple[str, str, datetime] | None, awaited: str | None) -> None:
        del self._pushed[device]
        self._awaited.pop(device, None)
        if pushed is not None:
            self._pushed[device] = pushed
        if awaited is not None:
            self._awaited[device] = awaited

    def _hear_answer(self, ack: PromptsAck) -> None:
        """One answer for each list that was sent from here: more of them are no news."""
        if self._awaited.get(ack.device) == ack.received_sha256:
            del self._awaited[ack.device]
            what = "taken" if ack.applied else "refused"
            problem = "" if not ack.errors else f"line {ack.errors[0].line}: {ack.errors[0].problem}"
            self._history.put_audit(ack.device, what, ack.device, ack.received_sha256, problem)

    def _flies(self, device: str, sha256: str, text: str) -> None:
        """Only what a drone has flown is a way back."""
        if self._flown.get(device) != sha256:
            self._flown[device] = sha256
            pushed = self._pushed.get(device, ("", ""))
            user = pushed[1] if pushed[0] == sha256 else ""
            self._history.put_list(device, sha256, text, user, self._now())

    def _restore(self) -> None:
        """What was sent before this console's start, and answered."""
        try:
            for row in self._history.last_sent():
                if row.action in ("taken", "refused"):
                    self._lists.answered(row.device, row.target)
                else:
                    self._pushed[row.device] = row.target, row.user, row.at
                    self._awaited[row.device] = row.target
        except RemoteclipError as error:
            log.warning("%s; the page starts without it", error)
