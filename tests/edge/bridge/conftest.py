"""Messages of a fleet of herons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from firmware_cfg.messages import Alert, Event
from tests.edge.bridge.herons import START, heron_event


@pytest.fixture
def start() -> datetime:
    """The capture time of the first event."""
    return START


@pytest.fixture
def event() -> Callable[..., Event]:
    """See heron_event."""
    return heron_event


@pytest.fixture
def retained() -> Callable[[Event], Alert]:
    """The retained copy of an event's alert."""
    return lambda event: Alert.from_event(event, START)
