"""The page without a broker: a control room that hears what a test says, and a link that notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from console import accounts as accounts_module
from console.accounts import Accounts
from console.actions import Actions
from console.history import History
from console.services import Services, Settings
from console.state import ControlRoom
from console.web.app import create_app
from firmware_cfg.errors import BrokerError
from firmware_cfg.messages import Alert, Event, Message, Status
from firmware_cfg.topics import Topics
from tests.edge.bridge.herons import heron_event

HOST = "http://testserver"  # the one that starlette's test client says it asks, for websockets, too
PASSWORD = "correct horse battery"


@dataclass
class FakeLink:
    """Notes what is published; answers from `answers` by topic."""

    published: list[tuple[str, bytes, bool]] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.published.append((topic, payload, retain))

    async def ask(self, topic: str, payload: bytes, answer: str) -> bytes:
        self.published.append((topic, payload, False))
        if answer not in self.answers:
            raise BrokerError(f"{topic}: no answer within 20 s (is the drone there?)")
        return self.answers[answer]


@dataclass
class Room:
    """The services of one console, and ways to put messages into it."""

    services: Services
    link: FakeLink

    def hear(self, topic: str, message: Message | bytes, *, retained: bool = False) -> None:
        payload = message if isinstance(message, bytes) else message.to_payload()
        self.services.room.apply(topic, payload, retained, at=datetime.now(timezone.utc))

    def online(self, device: str = "heron-1", **changes: Any) -> None:
        now = datetime.now(timezone.utc)
        fields: dict[str, Any] = {
            "device": device,
            "sent_at": now,
            "state": "online",
            "session_id": "s1",
            "session_started_at": now,
            "boot_id": "b1",
        }
        self.hear(Topics(device).status, Status(**{**fields, **changes}))

    def raised(self, **changes: Any) -> Event:
        """A raise of now, as an event and as the retained alert."""
        now = datetime.now(timezone.utc)
        event = heron_event("raise", **{"sent_at": now, "observed_at": now, **changes})
        self.hear(Topics(event.device).events, event)
        self.hear(Topics(event.device).alert(event.alert_id), Alert.from_event(event, event.observed_at))
        return event

    def client(self, name: str | None = "lea") -> TestClient:
        """A browser; logged in unless `name` is None."""
        client = TestClient(create_app(self.services), base_url=HOST, headers={"origin": HOST})
        if name is not None:
            answer = client.post("/login", data={"name": name, "password": PASSWORD}, follow_redirects=False)
            assert answer.status_code == 303, answer.text
        return client


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """lea is an operator, max a viewer; their passwords cost nothing to check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts_module, "_scrypt", lambda password, salt, n, r, p: f"{password}{salt!r}")
        path = tmp_path_factory.mktemp("users") / "users.json"
        accounts = Accounts(path)
        accounts.add("lea", "operator", PASSWORD)
        accounts.add("max", "viewer", PASSWORD)
        yield path


@pytest.fixture
def make_room(tmp_path: Path, users: Path) -> Iterator[Callable[..., Room]]:
    """`make_room(**settings)` -> a room that nobody has spoken in."""
    histories: list[History] = []

    def make(**settings: Any) -> Room:
        room, link = ControlRoom(), FakeLink()
        history = History(tmp_path / f"history-{len(histories)}.db")
        histories.append(history)
        room.tell(connected=True)
        actions = Actions(room, history, link)
        shown = Settings(broker="mqtt://broker.test:1883", **settings)
        return Room(Services(room, history, link, actions, Accounts(users), shown), link)

    yield make
    for history in histories:
        history.close()


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    """One with the settings of a plain start."""
    return make_room()


@pytest.fixture
def token() -> Callable[[TestClient], dict[str, str]]:
    """`token(client)` -> the header that a page's own requests carry."""

    def of(client: TestClient) -> dict[str, str]:
        page = client.get("/audit").text
        return {"x-csrf-token": page.split('name="csrf" content="')[1].split('"')[0]}

    return of
