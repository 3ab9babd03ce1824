"""What an operator may do. Each of it is in the audit log with who did it and when."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

from console.accounts import User
from console.devices import DeviceLine
from console.history import History
from console.link import Link
from console.state import ControlRoom
from edge.prompts.intake import refuse_giants
from firmware_cfg.errors import ConfigError, ConfigErrors, RemoteclipError
from firmware_cfg.messages import AlertAck, AlertAct, EvidenceRequest, ThumbnailRequest
from firmware_cfg.messages.ack import MAX_TEXT
from firmware_cfg.prompt_list import load_prompt_bytes
from firmware_cfg.topics import Topics

LONGEST_MUTE = timedelta(hours=24)
"""Longer than a shift nothing shall be kept from being heard."""
THUMBNAIL_KIB = 32
THUMBNAIL_EVERY = timedelta(seconds=2)
"""A thumbnail is shown to all who ask within this time."""
_KEPT_PICTURES = 200


class ActionError(RemoteclipError):
    """It cannot be done, or not by this user."""


class Actions:
    """Every method takes the user who wants it, and raises RemoteclipError with one line for the page."""

    def __init__(
        self,
        room: ControlRoom,
        history: History,
        link: Link,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._room = room
        self._history = history
        self._link = link
        self._now = now
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._thumbnails: dict[str, tuple[datetime, bytes]] = {}
        self._pushed: dict[str, tuple[str, str, datetime]] = {}  # device -> hash, by whom, when

    async def acknowledge(self, user: User, device: str, alert_id: str) -> None:
        """Somebody takes care of it: it rings no more, and every control room sees who."""
        await self._act(user, device, alert_id, AlertAct(action="acknowledge", by=user.name, at=self._now()))

    async def mute(self, user: User, device: str, alert_id: str, until: datetime, text: str = "") -> None:
        """It rings no more until then; a time that is not in the future ends a mute."""
        now = self._now()
        if until - now > LONGEST_MUTE:
            raise ActionError(f"an alert is muted for at most {LONGEST_MUTE.total_seconds() / 3600:.0f} h")
        act = AlertAct(action="mute", by=user.name, at=now, until=until, text=_text(text))
        await self._act(user, device, alert_id, act)

    async def comment(self, user: User, device: str, alert_id: str, text: str) -> None:
        """A remark that everybody sees beside the alert."""
        if not text.strip():
            raise ActionError("the comment is empty")
        act = AlertAct(action="comment", by=user.name, at=self._now(), text=_text(text))
        await self._act(user, device, alert_id, act)

    async def list_of(self, user: User, device: str) -> str:
        """The text of the list in force; the drone is asked where it is not known here."""
        line = self._line(device)
        known = self._room.lists.get(device)
        if known is not None:
            return known
        if line.away:
            raise ActionError(f"{device} is {line.state}: its list is not known here")
        topics = Topics(device)
        data = await self._link.ask(topics.prompts_get, b"", topics.prompts_list)
        try:
            self._room.note_text(data)
            return data.decode("utf-8")
        except ValueError as error:
            raise ActionError(f"{device}: its list is no text: {error}") from error

    def check_list(self, text: str) -> list[ConfigError]:
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

    async def push_list(
        self, user: User, devices: Sequence[str], text: str, expected: dict[str, str | None]
    ) -> dict[str, str | None]:
        """Make it the list that these drones should have, also those that are away.

        Args:
            expected: hash of the list that the editor began with, by device. A drone that has another one by
                now does not get this one.

        Returns:
            By device why it was not told, or None: what the drone makes of it comes as its `ack`.
        """
        _require_operator(user)
        if problems := await asyncio.to_thread(self.check_list, text):
            raise ActionError(f"{len(problems)} problems, the first: {problems[0]}")
        data = text.encode()
        results = await asyncio.gather(
            *(self._push(user, each, data, expected.get(each)) for each in devices)
        )
        return dict(zip(devices, results, strict=True))

    async def rollback(self, user: User, device: str) -> None:
        """Give a drone the list that it had before the one it has."""
        _require_operator(user)
        self._line(device)
        current = self._room.wanted_sha256(device)
        kept = await asyncio.to_thread(self._history.lists, device)
        older = next((each for each in kept if each.sha256 != current), None)
        if older is None:
            raise ActionError(
                f"{device}: no earlier list is known here (on the drone: remoteclip prompts rollback)"
            )
        self._history.put_audit(user.name, "rollback", device, older.sha256)
        await self._send_list(user, device, older.text.encode())

    def note(self, user: str, action: str, detail: str = "") -> None:
        """Something for the audit log that is done elsewhere, such as a login."""
        self._history.put_audit(user, action, "", "", detail)

    def cached_evidence(self, sha256: str) -> bytes | None:
        """The picture, where somebody has asked for it before."""
        known = self._pictures.get(sha256)
        if known is not None:
            self._pictures.move_to_end(sha256)
        return known

    async def evidence(self, user: User, device: str, sha256: str) -> bytes:
        """The JPEG of an alert, asked of the drone once, its hash checked."""
        known = self.cached_evidence(sha256)
        if known is not None:
            return known
        _require_operator(user)
        self._line(device)
        topics = Topics(device)
        try:
            request, answer = EvidenceRequest(sha256=sha256), topics.evidence(sha256)
        except ValueError as error:
            raise ActionError("no hash of a picture") from error
        self._history.put_audit(user.name, "evidence", device, sha256)
        data = await self._link.ask(topics.evidence_get, request.to_payload(), answer)
        if not data:
            raise ActionError(f"{device}: the picture is not kept any more")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ActionError(f"{device}: the picture is not the one that the alert names: its hash differs")
        self._pictures[sha256] = data
        if len(self._pictures) > _KEPT_PICTURES:
            self._pictures.popitem(last=False)
        return data

    async def thumbnail(self, user: User, device: str) -> bytes:
        """What the camera sees: one picture for all who ask within THUMBNAIL_EVERY."""
        line = self._line(device)
        now = self._now()
        known = self._thumbnails.get(device)
        if known is not None and now - known[0] < THUMBNAIL_EVERY:
            return known[1]
        _require_operator(user)
        if line.away:
            raise ActionError(f"{device} is {line.state}: there is nothing to see")
        topics = Topics(device)
        self._history.put_audit(user.name, "thumbnail", device)
        request = ThumbnailRequest(max_kib=THUMBNAIL_KIB)
        data = await self._link.ask(topics.thumbnail_get, request.to_payload(), topics.thumbnail)
        if not data.startswith(b"\xff\xd8"):
            raise ActionError(f"{device}: no picture yet")
        self._thumbnails[device] = self._now(), data
        return data

    async def _act(self, user: User, device: str, alert_id: str, act: AlertAct) -> None:
        _require_operator(user)
        key = (device, alert_id)
        if key not in self._room.alerts:
            raise ActionError(f"{device}: no such alert is known (any more)")
        done = "unmute" if act.until is not None and act.until <= act.at else act.action
        self._history.put_audit(user.name, done, device, alert_id, act.text or str(act.until or ""))
        # The room takes it when it comes back from the broker, as all other rooms do.
        await self._link.publish(Topics(device).alert_ack(alert_id), AlertAck.of(act).to_payload())

    async def _push(self, user: User, device: str, data: bytes, expected: str | None) -> str | None:
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._line(device)
            current = self._room.wanted_sha256(device)
            if expected is not None and current not in (expected, sha256):
                pushed = self._pushed.get(device)
                who = (
                    f" by {pushed[1]} at {pushed[2]:%H:%M:%S} UTC" if pushed and pushed[0] == current else ""
                )
                raise ActionError(
                    f"{device}: its list was changed meanwhile{who}; look at it, then push again"
                )
            # For a way back: what it has now may be known to the drone alone.
            before = None if current is None else self._room.text_of(current)
            if current is not None and before is not None:
                self._history.put_list(device, current, before, "", self._now() - timedelta(seconds=1))
            self._history.put_audit(user.name, "push", device, sha256)
            await self._send_list(user, device, data)
        except RemoteclipError as error:
            return str(error)
        return None

    async def _send_list(self, user: User, device: str, data: bytes) -> None:
        now, sha256 = self._now(), self._room.note_text(data)
        self._history.put_list(device, sha256, data.decode(), user.name, now)
        self._pushed[device] = sha256, user.name, now
        await self._link.publish(Topics(device).prompts_desired, data, retain=True)

    def _line(self, device: str) -> DeviceLine:
        line = self._room.devices.get(device)
        if line is None:
            raise ActionError(f"no drone {device[:64]!a} is known")
        return line


def _require_operator(user: User) -> None:
    if not user.may_act:
        raise ActionError(f"{user.name} may look, not act (an operator may)")


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ActionError(f"{len(text)} characters are more than {MAX_TEXT}")
    return text.strip()
