"""What an operator does on the page: `/do/WHAT` with a JSON object, answered with one.

`console.actions` judges who may, validates, and writes the audit log; here requests are only read.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from console.accounts import Session
from console.services import Services
from console.web.guard import body
from console.web.pictures import boxes_of, picture
from console.web.render import parts
from edge.prompts.intake import refuse_giants
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.messages.ack import MAX_TEXT
from firmware_cfg.messages.base import Name, Sha256

_MOST_DEVICES = 1000
_MOST_SHOWN = 100  # problems of a list; who mends those looks again

Asked = TypeVar("Asked", bound="_Request")
Answer = dict[str, Any]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Alert(_Request):
    device: Name
    alert: Name


class _Mute(_Alert):
    minutes: Annotated[int, Field(ge=0, le=24 * 60, description="0 ends a mute.")]


class _Comment(_Alert):
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class _Device(_Request):
    device: Name


class _Picture(_Device):
    sha256: Sha256


class _List(_Request):
    text: Annotated[str, Field(max_length=256 * 1024)]
    base: Annotated[str, Field(max_length=256 * 1024)] = ""


class _Push(_List):
    devices: Annotated[dict[Name, Sha256 | None], Field(min_length=1, max_length=_MOST_DEVICES)]


async def _acknowledge(services: Services, session: Session, asked: _Alert) -> Answer:
    await services.actions.acknowledge(session.user, asked.device, asked.alert)
    return {"said": "Acknowledged."}


async def _mute(services: Services, session: Session, asked: _Mute) -> Answer:
    until = datetime.now(timezone.utc) + timedelta(minutes=asked.minutes)
    await services.actions.mute(session.user, asked.device, asked.alert, until)
    return {"said": f"Muted for {asked.minutes} minutes." if asked.minutes else "It rings again."}


async def _comment(services: Services, session: Session, asked: _Comment) -> Answer:
    await services.actions.comment(session.user, asked.device, asked.alert, asked.text)
    return {"said": "Written down."}


async def _check(services: Services, session: Session, asked: _List) -> Answer:
    problems = await asyncio.to_thread(services.actions.lists.check, asked.text)
    return {"right": not problems, "html": parts("prompts").problems(problems[:_MOST_SHOWN], len(problems))}


async def _diff(services: Services, session: Session, asked: _List) -> Answer:
    for text in (asked.base, asked.text):  # a diff of what no drone takes may last for seconds
        if text:
            refuse_giants(text.encode(), "list")
    lines = await asyncio.to_thread(_changed_lines, asked.base.splitlines(), asked.text.splitlines())
    return {"html": parts("prompts").diff(lines)}


def _changed_lines(before: list[str], after: list[str]) -> list[str]:
    return list(difflib.unified_diff(before, after, "before", "to push", lineterm=""))


async def _push(services: Services, session: Session, asked: _Push) -> Answer:
    failed = await services.actions.lists.push(
        session.user, list(asked.devices), asked.text, dict(asked.devices)
    )
    problems = {device: problem for device, problem in failed.items() if problem}
    sent = len(asked.devices) - len(problems)
    said = f"Sent to {sent} of {len(asked.devices)} devices. "
    said += "; ".join(f"{device}: {problem}" for device, problem in list(problems.items())[:5])
    # What the editor compares with from here on: the list that these drones should have now.
    sha256 = hashlib.sha256(asked.text.encode()).hexdigest()
    now = {device: sha256 for device in asked.devices if device not in problems}
    return {"said": said.strip(), "problem": bool(problems), "wanted": now}


async def _rollback(services: Services, session: Session, asked: _Device) -> Answer:
    await services.actions.lists.rollback(session.user, asked.device)
    return {"said": f"{asked.device} was asked to go back to the list before."}


async def _evidence(services: Services, session: Session, asked: _Picture) -> Answer:
    jpeg = await services.actions.evidence(session.user, asked.device, asked.sha256)
    return picture(jpeg, await boxes_of(services, asked.device, asked.sha256))


async def _thumbnail(services: Services, session: Session, asked: _Device) -> Answer:
    return picture(await services.actions.thumbnail(session.user, asked.device), ())


_ACTIONS: dict[str, tuple[type[_Request], Callable[..., Awaitable[Answer]]]] = {
    "acknowledge": (_Alert, _acknowledge),
    "mute": (_Mute, _mute),
    "comment": (_Comment, _comment),
    "check": (_List, _check),
    "diff": (_List, _diff),
    "push": (_Push, _push),
    "rollback": (_Device, _rollback),
    "evidence": (_Picture, _evidence),
    "thumbnail": (_Device, _thumbnail),
}


async def do(request: Request, session: Session) -> Response:
    """Answers with what was done (200), what was wrong with the request (400), or why it cannot be (409)."""
    found = _ACTIONS.get(request.path_params["what"])
    if found is None:
        return JSONResponse({"problem": "there is no such thing to do"}, 404)
    model, action = found
    services: Services = request.app.state.services
    try:
        asked = model.model_validate_json(await body(request))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        return JSONResponse({"problem": f"{where}: {first['msg']}"}, 400)
    except ValueError as error:
        return JSONResponse({"problem": str(error)}, 413)
    try:
        return JSONResponse(await action(services, session, asked))
    except RemoteclipError as error:
        return JSONResponse({"problem": str(error)}, 409)
