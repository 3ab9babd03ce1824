"""Prompt list -> text embeddings -> PromptBank."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.lookup import object_margins, scene_cosines
from edge.prompts.bank import BACKGROUND_OWNER, Correction, PromptBank, RowLayout
from edge.prompts.places_in_list import place_of, sentences_of, too_long_errors, where_in
from edge.prompts.spread import SpreadRows
from edge.prompts.text_encoder import SentenceEncoder, TextTooLong
from firmware_cfg.errors import ConfigError, ConfigErrors
from firmware_cfg.messages.prompts import PromptSource
from firmware_cfg.prompt_list import LoadedPromptList, PromptList

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.runtime import ModelFacts

MOST_SENT_TILES = 4
"""A list that was sent may ask for this many times the pixels of the model's largest tile: far beyond, one
message could take a drone's memory and keep it busy for seconds a frame. A flashed one may ask for any."""
MOST_SENT_SENTENCES = 512
"""Of a list that was sent: each takes tens of milliseconds on a drone. A flashed one may have more."""
LOWEST_DEFAULT = 0.3
"""No default threshold is lower: by the Platt fit most places that score less are wrong."""


def in_memory_list(prompt_list: PromptList, name: str = "prompt list") -> LoadedPromptList:
    """A list that was made in a program and has no bytes of its own; it is hashed as JSON."""
    text = prompt_list.model_dump_json(by_alias=True)
    return LoadedPromptList(name, prompt_list, hashlib.sha256(text.encode()).hexdigest())


def build_prompt_bank(
    loaded: LoadedPromptList,
    encoder: SentenceEncoder,
    facts: ModelFacts,
    calibration: Calibration,
    *,
    source: PromptSource = "file",
    data: bytes | None = None,
) -> PromptBank:
    """Encode a list's sentences and lay them out as rows.

    `match: mean` makes one row of a prompt's texts, their mean made unit; `any` a row each. A rectified model
    gives object and background rows a bias and position columns by their embedding; scenes, scored by cosines
    with whole images, stay as they are. A threshold that the list leaves out is set so that the stated share
    of the null bank reaches it.

    Args:
        source: where the list came from.
        data: its bytes, so that errors name lines; default: those of its file, if it still has them.

    Raises:
        ConfigErrors: every sentence that is too long for the text tower, with its line; or texts of one
            prompt that cancel each other out; or a list that was sent asks for too much.
        EngineError, MissingExtra: the text tower failed.
    """
    prompts = loaded.model.prompts
    objects = [number for number, prompt in enumerate(prompts) if prompt.kind == "object"]
    scenes = [number for number, prompt in enumerate(prompts) if prompt.kind == "scene"]
    background = loaded.model.background
    count = sum(prompt.rows for prompt in prompts) + len(background)
    if source == "mqtt":
        _refuse_giant_tiles(loaded, data, facts)
        _refuse_many_sentences(loaded, data)
    texts = [text for number in (*objects, *scenes) for text in prompts[number].text] + list(background)
    try:
        encoded = encoder.encode(texts)
    except TextTooLong as error:
        raise too_long_errors(loaded, data, error) from error

    rows = np.zeros((count, facts.row_width), np.float32)
    row_owner = np.full(count, BACKGROUND_OWNER, np.int64)
    starts: list[int] = []
    row = taken = 0
    for number in (*objects, *scenes):
        block = encoded[taken : taken + len(prompts[number].text)]
        taken += len(block)
        if prompts[number].match == "mean":
            block = _unit_mean(block, loaded, data, number)
        rows[row : row + len(block), : facts.embedding_width] = block
        row_owner[row : row + len(block)] = number
        starts.append(row)
        row += len(block)
    rows[row:, : facts.embedding_width] = encoded[taken:]
    layout = RowLayout(
        object_ids=tuple(prompts[number].id for number in objects),
        object_starts=np.array(starts[: len(objects)], np.int64),
        scene_ids=tuple(prompts[number].id for number in scenes),
        scene_starts=np.array(starts[len(objects) :], np.int64),
        scene_begin=sum(prompts[number].rows for number in objects),
        background_begin=row,
        end=count,
    )
    return _bank(loaded, rows, row_owner, layout, facts, calibration, source)


def _refuse_giant_tiles(loaded: LoadedPromptList, data: bytes | None, facts: ModelFacts) -> None:
    width, height = loaded.model.image_size or (0, 0)
    most = MOST_SENT_TILES * max(wide * high for wide, high in facts.image_sizes)
    if width * height > most:
        line, column = place_of(where_in(loaded, data), ("image_size",))
        problem = f"image_size {width}x{height} is too large for a list that is sent: at most {most} pixels"
        mend = "leave it out, or flash the list"
        raise ConfigErrors([ConfigError(loaded.path, line, column, problem, mend)])


def _refuse_many_sentences(loaded: LoadedPromptList, data: bytes | None) -> None:
    sentences = sentences_of(loaded.model)
    if len(sentences) > MOST_SENT_SENTENCES:
        line, column = place_of(where_in(loaded, data), sentences[MOST_SENT_SENTENCES][0])
        problem = f"a list that is sent has at most {MOST_SENT_SENTENCES} sentences, not {len(sentences)}"
        mend = "use fewer paraphrases, or flash the list"
        raise ConfigErrors([ConfigError(loaded.path, line, column, problem, mend)])


def _bank(
    loaded: LoadedPromptList,
    rows: F32,
    row_owner: NDArray[np.int64],
    layout: RowLayout,
    facts: ModelFacts,
    calibration: Calibration,
    source: PromptSource,
) -> PromptBank:
    """All of it together; nothing in it can be changed any more."""
    prompts = loaded.model.prompts
    objects = Correction.of(
        [prompt for prompt in prompts if prompt.kind == "object"], calibration.platt_object
    )
    scenes = Correction.of([prompt for prompt in prompts if prompt.kind == "scene"], calibration.platt_scene)
    row_bias = _rectify(rows, layout, facts, calibration)
    defaults = _default_thresholds(rows, row_bias, layout, objects, scenes, facts, calibration)
    thresholds = {
        prompt.id: defaults[prompt.id] if prompt.threshold is None else prompt.threshold for prompt in prompts
    }
    bias = layout.silence() + row_bias
    object_thresholds = np.array([thresholds[name] for name in layout.object_ids], np.float64)
    for array in (rows, bias, row_owner, object_thresholds, layout.object_starts, layout.scene_starts):
        array.setflags(write=False)
    return PromptBank(
        prompt_list=loaded.model,
        list_sha256=loaded.sha256,
        rows=rows,
        bias=bias,
        row_owner=row_owner,
        thresholds=MappingProxyType(thresholds),
        review_below=MappingProxyType({prompt.id: prompt.review_below for prompt in prompts}),
        object_thresholds=object_thresholds,
        layout=layout,
        source=source,
        object_correction=objects,
        scene_correction=scenes,
        spread=SpreadRows.of(rows, bias, layout, facts),
    )


def _rectify(rows: F32, layout: RowLayout, facts: ModelFacts, calibration: Calibration) -> F32:
    """Fill the position columns of `rows`, return each row's bias, (P,) float32; zeros if not rectified."""
    row_bias = np.zeros(layout.end, np.float32)
    if calibration.rectification is not None:
        width = facts.embedding_width
        for group in (slice(0, layout.scene_begin), slice(layout.background_begin, layout.end)):
            row_bias[group], rows[group, width:] = calibration.rectification.fill(rows[group, :width])
    return row_bias


def _unit_mean(block: F32, loaded: LoadedPromptList, data: bytes | None, number: int) -> F32:
    mean = block.mean(axis=0, keepdims=True)
    length = float(np.linalg.norm(mean))
    if length < 1e-3:
        line, column = place_of(where_in(loaded, data), ("prompts", number, "text"))
        problem = f"the texts of prompt {loaded.model.prompts[number].id} cancel each other out"
        raise ConfigErrors([ConfigError(loaded.path, line, column, problem, "use match: any")])
    unit: F32 = (mean / np.float32(length)).astype(np.float32)
    return unit


def _default_thresholds(
    rows: F32,
    row_bias: F32,
    layout: RowLayout,
    objects: Correction,
    scenes: Correction,
    facts: ModelFacts,
    calibration: Calibration,
) -> dict[str, float]:
    """What the null bank scores by these corrections, at the quantile that the stated share of it reaches.

    An object's is at least LOWEST_DEFAULT.
    """
    thresholds: dict[str, float] = {}
    if layout.object_ids:
        logits = calibration.null_cells @ rows.T
        logits *= np.float32(facts.logit_scale)
        logits += np.float32(facts.logit_bias) + row_bias
        scores = calibration.object_score(objects.apply(object_margins(logits, layout)))
        quantiles = np.quantile(scores, 1 - calibration.false_alarm_rate_object, axis=0)
        thresholds |= zip(layout.object_ids, np.clip(quantiles, LOWEST_DEFAULT, 1).tolist(), strict=True)
    if layout.scene_ids:
        cosines = calibration.null_scenes @ rows[:, : facts.embedding_width].T
        scores = calibration.scene_score(scenes.apply(scene_cosines(cosines, layout)))
        quantiles = np.quantile(scores, 1 - calibration.false_alarm_rate_scene, axis=0)
        thresholds |= zip(layout.scene_ids, np.clip(quantiles, 0, 1).tolist(), strict=True)
    return thresholds
