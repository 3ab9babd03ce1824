"""Makes a pipeline's prompt banks, one at a time, and keeps or frees the text tower in between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.prompts.build import build_prompt_bank
from edge.prompts.text_encoder import InterruptibleEncoder, TextEncoder
from firmware_cfg.errors import EngineError
from firmware_cfg.long_lists import long_list_remark

if TYPE_CHECKING:
    from edge.prompts.bank import PromptBank
    from edge.runtime import Runtime
    from firmware_cfg.messages.prompts import PromptSource
    from firmware_cfg.prompt_list import LoadedPromptList

log = logging.getLogger(__name__)

Asked = Callable[[], bool]
"""Whether to give up; it is asked often, and must answer at once."""


def never() -> bool:
    """Do not give up."""
    return False


class BankBuilder:
    """`build` belongs inside `turn`; both, `load_text_tower` and `close` may be called from any thread."""

    def __init__(self, runtime: Runtime, *, keep_text_tower: bool) -> None:
        """Nothing is loaded yet. `keep_text_tower`: see Pipeline."""
        self._runtime = runtime
        self._keep_text_tower = keep_text_tower
        self._encoding = threading.Lock()
        self._closed = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, nobody else makes a bank. Raises EngineError after `close`."""
        with self._encoding:
            try:
                if self._closed:
                    raise EngineError("this pipeline is closed")
                yield
            finally:
                # Where lists change rarely and memory is small, the text tower does not stay loaded.
                if not self._keep_text_tower or self._closed:
                    self._runtime.release_sentences()

    def build(
        self,
        prompt_list: LoadedPromptList,
        source: PromptSource,
        data: bytes | None = None,
        interrupted: Asked = never,
    ) -> PromptBank:
        """See `build_prompt_bank`. Raises Interrupted, too: `interrupted` said so, or `close` was called.

        A list of which the model looks for a part only gets a warning in the log.
        """
        runtime, sentences = self._runtime, self._runtime.sentences
        if isinstance(sentences, TextEncoder):
            sentences = InterruptibleEncoder(sentences, lambda: self._closed or interrupted())
        facts, calibration = runtime.facts, runtime.calibration
        bank = build_prompt_bank(prompt_list, sentences, facts, calibration, source=source, data=data)
        remark = long_list_remark(bank.prompt_list)
        if remark is not None:
            log.warning("%s: %s", prompt_list.path, remark)
        return bank

    def load_text_tower(self) -> None:
        """Load it now, where it is to be kept. Raises EngineError, MissingExtra."""
        sentences = self._runtime.sentences
        if self._keep_text_tower and isinstance(sentences, TextEncoder):
            with self.turn():
                sentences.load()

    def close(self) -> None:
        """Free the text tower. Who is encoding ends at the next sentence, and frees it: nobody waits."""
        self._closed = True
        if self._encoding.acquire(blocking=False):
            try:
                self._runtime.release_sentences()
            finally:
                self._encoding.release()
