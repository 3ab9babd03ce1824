"""PromptBank: a prompt list as the rows that the graph and the lookup work with, swapped as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.prompts.spread import SpreadRows
from firmware_cfg.messages.prompts import PromptSource
from firmware_cfg.prompt_list import Prompt, PromptList

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

    def silence(self) -> F32:
        """(end,) float32: 0 for object rows, BACKGROUND_BIAS for those that shall create no place."""
        silence = np.zeros(self.end, np.float32)
        silence[self.scene_begin :] = BACKGROUND_BIAS
        silence.setflags(write=False)
        return silence


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What a list says of its prompts' scores: a straight line each, applied before the bundle's Platt fit.

    The fit (a, c) with a prompt's `bias` b and `temperature` T gives the log-odds (a * x + c + b) / T. Here x
    is moved so that sigmoid(a * x' + c) has those odds; b = 0 and T = 1 leave x as it is, to the bit.

    Attributes:
        slope, shift: (n,) float32, one a prompt, slope above 0.
    """

    slope: F32
    shift: F32

    @classmethod
    def of(cls, prompts: Sequence[Prompt], platt: tuple[float, float]) -> Correction:
        """The prompts' own, for the Platt fit (a, c) that their kind is scored by."""
        if all(prompt.bias == 0 and prompt.temperature == 1 for prompt in prompts):
            return UNCORRECTED
        a, c = platt
        temperature = np.array([prompt.temperature for prompt in prompts], np.float64)
        bias = np.array([prompt.bias for prompt in prompts], np.float64)
        slope = (1 / temperature).astype(np.float32)
        shift = (((c + bias) / temperature - c) / a).astype(np.float32)
        slope.setflags(write=False)
        shift.setflags(write=False)
        return cls(slope, shift)

    def apply(self, raw: F32) -> F32:
        """Raw numbers (margins or cosines) of shape (..., n), moved; NaN and -inf stay what they are."""
        if self is UNCORRECTED:
            return raw
        moved: F32 = raw * self.slope + self.shift
        return moved


UNCORRECTED = Correction(np.ones(1, np.float32), np.zeros(1, np.float32))
"""Of any number of prompts that a list says nothing of."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptBank:
    """A prompt list as the graph takes it. Immutable, arrays too: a frame sees one list from start to end.

    Attributes:
        prompt_list: the list it was made from.
        list_sha256: hex SHA-256 of that list, as it is reported over MQTT.
        rows: (P, D + E) float32, 1 <= P <= MAX_ROWS; unit text embeddings, then E position columns, which are
            zero unless the model is rectified.
        bias: (P,) float32; `silence`, and what a rectified model gives the row.
        row_owner: (P,) int64, index of the row's prompt in `prompt_list.prompts`, or -1 for background.
        thresholds: calibrated threshold of every prompt by id, 0 to 1.
        review_below: by id, the score below which an alert is only "possible"; None where the list sets none.
        object_thresholds: (n,) float64, the thresholds in the order of `layout.object_ids`.
        layout: where the rows lie.
        source: where the list came from.
        object_correction, scene_correction: the prompts' bias and temperature, in the order of `layout`.
        spread: of a list with more rows than the graph takes, how they are read all the same.
        silence: (P,) float32, the layout's: what the graph's logits carry beside what the rows say.
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
    object_correction: Correction = UNCORRECTED
    scene_correction: Correction = UNCORRECTED
    spread: SpreadRows | None = None
    silence: F32 = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "silence", self.layout.silence())

    @property
    def row_bias(self) -> F32:
        """(P,) float32: what is added to the logits of each row; zero unless the model is rectified."""
        return self.bias - self.silence

    @property
    def graph_rows(self) -> F32:
        """(G, D + E) float32, 1 <= G <= GRAPH_ROWS: what the engine takes as `prompts`."""
        return self.rows if self.spread is None else self.spread.rows

    @property
    def graph_bias(self) -> F32:
        """(G,) float32: what the engine takes as `bias`."""
        return self.bias if self.spread is None else self.spread.bias


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
