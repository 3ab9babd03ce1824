"""Prompt list -> text embeddings -> PromptBank, the rows that the graph and the lookup work with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.lookup import object_margins, scene_cosines
from edge.text_encoder import TextTooLong, too_long_problem
from firmware_cfg.errors import ConfigError, ConfigErrors, EngineError, UsageError
from firmware_cfg.located_yaml import parse_located_yaml, read_config_bytes
from firmware_cfg.prompt_list import LoadedPromptList, Prompt, PromptList

if TYPE_CHECKING:
    from edge.calibration import Calibration
    from edge.manifest import Manifest

# Rows that must create no place of their own: far below any logit, far above the smallest float16.
BACKGROUND_BIAS = -1000.0
BACKGROUND_OWNER = -1
MAX_ROWS = 256


class SentenceEncoder(Protocol):
    """What embeds sentences: the device's TextEncoder, or the tower that training holds in memory."""

    def encode(self, texts: Sequence[str]) -> F32:
        """(T, D) float32 of unit length. Raises TextTooLong."""
        ...


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


def in_memory_list(prompt_list: PromptList, name: str = "prompt list") -> LoadedPromptList:
    """A list that was made in a program and has no bytes of its own; it is hashed as JSON."""
    text = prompt_list.model_dump_json(by_alias=True)
    return LoadedPromptList(name, prompt_list, hashlib.sha256(text.encode()).hexdigest())


def build_prompt_bank(
    loaded: LoadedPromptList, encoder: SentenceEncoder, manifest: Manifest, calibration: Calibration
) -> PromptBank:
    """Encode a list's sentences and lay them out as rows.

    `match: mean` makes one row of a prompt's texts, their mean made unit; `any` a row each. A threshold that
    the list leaves out is set so that the stated share of the null bank reaches it.

    Raises:
        UsageError: more than MAX_ROWS rows.
        ConfigErrors: every sentence that is too long for the text tower, with its line in the file.
        EngineError, MissingExtra: the text tower failed.
    """
    prompts = loaded.model.prompts
    objects = [number for number, prompt in enumerate(prompts) if prompt.kind == "object"]
    scenes = [number for number, prompt in enumerate(prompts) if prompt.kind == "scene"]
    background = loaded.model.background
    count = sum(_row_count(prompt) for prompt in prompts) + len(background)
    if count > MAX_ROWS:
        raise UsageError(
            f"{loaded.path}: this list needs {count} rows, one look-up takes at most {MAX_ROWS}"
            " (use fewer prompts or background sentences, or match: mean where texts are paraphrases)"
        )
    texts = [text for number in (*objects, *scenes) for text in prompts[number].text] + list(background)
    try:
        encoded = encoder.encode(texts)
    except TextTooLong as error:
        raise _located(loaded, error) from error

    rows = np.zeros((count, manifest.row_width), np.float32)
    row_owner = np.full(count, BACKGROUND_OWNER, np.int64)
    starts: list[int] = []
    row = taken = 0
    for number in (*objects, *scenes):
        prompt = prompts[number]
        block = encoded[taken : taken + len(prompt.text)]
        taken += len(prompt.text)
        if prompt.match == "mean":
            block = _unit_mean(block, prompt.id)
        rows[row : row + len(block), : manifest.embedding_width] = block
        row_owner[row : row + len(block)] = number
        starts.append(row)
        row += len(block)
    rows[row:, : manifest.embedding_width] = encoded[taken:]

    scene_begin = sum(_row_count(prompts[number]) for number in objects)
    layout = RowLayout(
        object_ids=tuple(prompts[number].id for number in objects),
        object_starts=np.array(starts[: len(objects)], np.int64),
        scene_ids=tuple(prompts[number].id for number in scenes),
        scene_starts=np.array(starts[len(objects) :], np.int64),
        scene_begin=scene_begin,
        background_begin=row,
        end=count,
    )
    bias = np.zeros(count, np.float32)
    bias[scene_begin:] = BACKGROUND_BIAS
    thresholds = _default_thresholds(rows, layout, manifest, calibration)
    thresholds |= {prompt.id: prompt.threshold for prompt in prompts if prompt.threshold is not None}
    object_thresholds = np.array([thresholds[name] for name in layout.object_ids], np.float64)
    for array in (rows, bias, row_owner, object_thresholds, layout.object_starts, layout.scene_starts):
        array.setflags(write=False)
    return PromptBank(
        prompt_list=loaded.model,
        list_sha256=loaded.sha256,
        rows=rows,
        bias=bias,
        row_owner=row_owner,
        thresholds=MappingProxyType({prompt.id: thresholds[prompt.id] for prompt in prompts}),
        review_below=MappingProxyType({prompt.id: prompt.review_below for prompt in prompts}),
        object_thresholds=object_thresholds,
        layout=layout,
    )


def _row_count(prompt: Prompt) -> int:
    return len(prompt.text) if prompt.match == "any" else 1


def _unit_mean(block: F32, prompt_id: str) -> F32:
    mean = block.mean(axis=0, keepdims=True)
    length = float(np.linalg.norm(mean))
    if length < 1e-3:
        raise EngineError(f"the texts of prompt {prompt_id} cancel each other out (use match: any)")
    unit: F32 = (mean / np.float32(length)).astype(np.float32)
    return unit


def _default_thresholds(
    rows: F32, layout: RowLayout, manifest: Manifest, calibration: Calibration
) -> dict[str, float]:
    """What the null bank's embeddings score, at the quantile that the stated share of them reaches."""
    thresholds: dict[str, float] = {}
    if layout.object_ids:
        logits = calibration.null_cells @ rows.T
        logits *= np.float32(manifest.logit_scale)
        logits += np.float32(manifest.logit_bias)
        scores = calibration.object_score(object_margins(logits, layout))
        quantiles = np.quantile(scores, 1 - calibration.false_alarm_rate_object, axis=0)
        thresholds |= zip(layout.object_ids, np.clip(quantiles, 0, 1).tolist(), strict=True)
    if layout.scene_ids:
        cosines = calibration.null_scenes @ rows[:, : manifest.embedding_width].T
        scores = calibration.scene_score(scene_cosines(cosines, layout))
        quantiles = np.quantile(scores, 1 - calibration.false_alarm_rate_scene, axis=0)
        thresholds |= zip(layout.scene_ids, np.clip(quantiles, 0, 1).tolist(), strict=True)
    return thresholds


def _located(loaded: LoadedPromptList, error: TextTooLong) -> ConfigErrors:
    """The error at the places in the file where its sentences stand."""
    tokens = dict(error.texts)
    errors = []
    for key, name, text in _sentences(loaded.model):
        if text in tokens:
            line, column = _place_of(loaded, key)
            problem = f"{name}: {too_long_problem(text, tokens[text], error.limit)}"
            mend = "shorten it, or split it into several"
            errors.append(ConfigError(loaded.path, line, column, problem, mend))
    return ConfigErrors(errors)


def _sentences(prompt_list: PromptList) -> list[tuple[tuple[str | int, ...], str, str]]:
    """(key path, name for a message, text) of every sentence."""
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    for number, prompt in enumerate(prompt_list.prompts):
        for place, text in enumerate(prompt.text):
            found.append((("prompts", number, "text", place), f"prompt {prompt.id}", text))
    for place, text in enumerate(prompt_list.background):
        found.append((("background", place), "background", text))
    return found


def _place_of(loaded: LoadedPromptList, key: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column of a value, or (0, 0) where the list is from elsewhere or its file has changed."""
    if not Path(loaded.path).is_file():
        return 0, 0
    try:
        data = read_config_bytes(loaded.path)
        if hashlib.sha256(data).hexdigest() != loaded.sha256:
            return 0, 0
        located = parse_located_yaml(data, loaded.path)
    except ConfigErrors:  # gone or rewritten between the two looks at it
        return 0, 0
    # One text may stand there without a list around it.
    place = located.value_place(key if located.has(key) else key[:-1])
    return place.line, place.column
