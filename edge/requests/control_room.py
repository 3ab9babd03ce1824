"""Who answers what the control room asks of a flight, and what its broker says that it kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edge.evidence.requests import EvidenceRequests
from edge.evidence.thumbnail import Thumbnails
from edge.mqtt.messages import IncomingMessage
from edge.onboard import OnBoard
from edge.prompts.requests import PromptRequests
from edge.requests.acts import AlertActs
from edge.requests.desk import Handler, RequestDesk
from edge.requests.orphans import OrphanSweeper
from edge.requests.replay import ReplayRequests
from firmware_cfg.topics import Channel

if TYPE_CHECKING:
    from edge.frames import Image


class ControlRoom:
    """A context manager that answers inside, in one thread, where both methods put something in line.

    Args:
        on_failure: see RequestDesk.
    """

    def __init__(
        self, on_board: OnBoard, *, on_failure: Callable[[Exception], None] = lambda error: None
    ) -> None:
        device, outbox = on_board.session.device, on_board.outbox

        def send(topic: str, payload: bytes, correlation: bytes | None) -> None:
            # An answer that somebody waits for outlives telemetry.
            outbox.put(topic, payload, kind="update", correlation=correlation)

        def known_prompts() -> set[str]:
            return {prompt.id for prompt in on_board.pipeline.bank.prompt_list.prompts}

        self._updater = on_board.updater
        prompts = PromptRequests(on_board.updater, device, send)
        self._sweeper = OrphanSweeper(outbox, on_board.session, prompts=known_prompts)
        self._thumbnails = Thumbnails(outbox, device)
        handlers: dict[Channel, Handler] = {
            "prompts/set": prompts.set_list,
            "prompts/desired": prompts.desired,
            "prompts/get": prompts.tell_list,
            "events/replay": ReplayRequests(outbox, device).handle,
            "thumbnail/get": self._thumbnails.handle,
            "alerts/ack": AlertActs(outbox, device).handle,
            "alerts": self._sweeper.handle,
            "counts": self._sweeper.handle,
        }
        if on_board.evidence is not None:
            handlers["evidence/get"] = EvidenceRequests(on_board.evidence, outbox, device).handle
        self._desk = RequestDesk(device, handlers, on_failure=on_failure)

    def __enter__(self) -> ControlRoom:
        self._desk.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._updater.stop()  # first: the request in hand may be a long list
        self._desk.__exit__(*exc)

    def hear(self, message: IncomingMessage) -> None:
        """What the link received."""
        self._desk.take(message)

    def see(self, image: Image) -> None:
        """The newest frame, should somebody ask for it; from the frame loop."""
        self._thumbnails.see(image)

    def sweep(self, begins: bool) -> None:
        """What the broker kept is about to come (True), or has come (False). Raises OutboxError.

        To be told before anything is sent that was queued until then.
        """
        step = partial(self._sweeper.begin, self._sweeper.expected()) if begins else self._sweeper.end
        self._desk.call("what the broker kept", step)
