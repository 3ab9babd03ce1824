"""What an operator may do. Each of it is in the audit log with who did it and when."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from console.accounts import User
from console.history import History
from console.link import Link
from console.permits import ActionError, line_of, require_operator
from console.prompt_desk import PromptDesk
from console.state import ControlRoom
from firmware_cfg.messages import AlertAck, AlertAct, EvidenceRequest, ThumbnailRequest
from firmware_cfg.messages.ack import MAX_TEXT
from firmware_cfg.topics import Topics

LONGEST_MUTE = timedelta(hours=24)
"""Longer than a shift nothing shall be kept from being heard."""
THUMBNAIL_KIB = 32
THUMBNAIL_EVERY = timedelta(seconds=2)
"""A thumbnail is shown to all who ask within this time."""
_KEPT_PICTURES = 200


class Actions:
    """Every method takes the user who wants it, and raises RemoteclipError with one line for the page.

    Attributes:
        lists: what is done with prompt lists.
    """

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
        self.lists = PromptDesk(room, history, link, now=now)

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
        require_operator(user)
        line_of(self._room, device)
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
        line = line_of(self._room, device)
        now = self._now()
        known = self._thumbnails.get(device)
        if known is not None and now - known[0] < THUMBNAIL_EVERY:
            return known[1]
        require_operator(user)
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
        require_operator(user)
        key = (device, alert_id)
        if key not in self._room.alerts:
            raise ActionError(f"{device}: no such alert is known (any more)")
        done = "unmute" if act.until is not None and act.until <= act.at else act.action
        self._history.put_audit(user.name, done, device, alert_id, act.text or str(act.until or ""))
        # The room takes it when it comes back from the broker, as all other rooms do.
        await self._link.publish(Topics(device).alert_ack(alert_id), AlertAck.of(act).to_payload())


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ActionError(f"{len(text)} characters are more than {MAX_TEXT}")
    return text.strip()
