"""PromptBank: a prompt list as the rows that the graph and the lookup work with, swapped as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from firmware_cfg.messages.prompts import PromptSource
from firmware_cfg.prompt_list import PromptList

# Rows that must create no place of their own: far below any logit, far above the smallest float16.
BACKGROUND_BIAS = -1000.0
BACKGROUND_OWNER = -1


@dataclass(frozen=True, slots=True, eq=False)
class RowLayout:
    """Where the rows of a bank lie: object prompts first, then scene prompts, then background sentences.

    Attributes:
        object_ids, scene_ids: prompt ids in row order.
        object_starts, scene_starts: (n,) int64, first row of each prompt (counted from the bank's first row).
        scene_begin, background_begin, end: where the second and third group begin, and the number of rows.
    """

    object_ids: tuple[str, ...]
    object_starts: NDArray[np.int64]
    scene_ids: tuple[str, ...]
    scene_starts: NDArray[np.int64]
    scene_begin: int
    background_begin: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class PromptBank:
    """A prompt list as the graph takes it. Immutable, arrays too: a frame sees one list from start to end.

    Attributes:
        prompt_list: the list it was made from.
        list_sha256: hex SHA-256 of that list, as it is reported over MQTT.
        rows: (P, D + E) float32, 1 <= P <= 256; unit text embeddings, the E position columns zero.
        bias: (P,) float32; 0 for object rows, BACKGROUND_BIAS for scene and background rows.
        row_owner: (P,) int64, index of the row's prompt in `prompt_list.prompts`, or -1 for background.
        thresholds: calibrated threshold of every prompt by id, 0 to 1.
        review_below: by id, the score below which an alert is only "possible"; None where the list sets none.
        object_thresholds: (n,) float64, the thresholds in the order of `layout.object_ids`.
        layout: where the rows lie.
        source: where the list came from.
    """

    prompt_list: PromptList
    list_sha256: str
    rows: F32
    bias: F32
    row_owner: NDArray[np.int64]
    thresholds: Mapping[str, float]
    review_below: Mapping[str, float | None]
    object_thresholds: NDArray[np.float64]
    layout: RowLayout
    source: PromptSource = "file"


class PromptStore:
    """The bank in use. `swap` may be called from any thread: who read `current` keeps a whole bank."""

    def __init__(self, bank: PromptBank) -> None:
        self._bank = bank

    @property
    def current(self) -> PromptBank:
        """The bank in use. Read it once per frame."""
        return self._bank

    def swap(self, bank: PromptBank) -> PromptBank:
        """Put `bank` in use and return the one before it."""
        previous, self._bank = self._bank, bank
        return previous
