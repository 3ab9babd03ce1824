"""What a long list costs: rows in the graph's dense lookup, and prompts scored at its places on the host.

The first contender of each task is a list of ten prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from compile.bench.spec import Setting
from compile.bench.timing import Row, rows_of, take_turns
from firmware_cfg.prompt_list import GRAPH_ROWS, Prompt, PromptList

if TYPE_CHECKING:
    from edge.bundle.load import Bundle
    from edge.engines.base import F32, U8, EngineOutput
    from edge.prompts.bank import PromptBank

DENSE_ROWS = (10, 64, 128, GRAPH_ROWS, 1000)
"""A list gives the graph at most 256; 1,000 tell what its limit saves."""
LISTS = (10, 100, 1000)
_SEED = 0
_AROUND = 0.6
"""How far random sentences lie from their mean: by their cosines as near to each other as real ones are."""


def rows(rounds: int, note: Callable[[str], None], setting: Setting) -> list[Row]:
    """The tasks "dense prompts" and "lookup of 300 places", on the setting's bundle and the default engine.

    Sentences are random embeddings: what they say costs nothing.
    Raises BundleError, EngineError, MissingExtra.
    """
    from edge.bundle.load import load_bundle
    from edge.engines import create_image_engine

    bundle = load_bundle(setting.bundle)
    width, height = size = setting.image_size or bundle.manifest.image_sizes[0]
    tile = np.random.default_rng(_SEED).integers(0, 256, (1, height, width, 3), np.uint8)
    engine = create_image_engine(bundle, precision=setting.precision, image_size=size)
    try:
        note(f"vocabulary: {engine.name} {engine.precision} at {width}x{height}")

        def infer(prompts: F32) -> EngineOutput:
            return engine.infer(tile, prompts, np.zeros(len(prompts), np.float32))

        dense = {count: sentences(bundle, count) for count in DENSE_ROWS}
        seconds = take_turns(
            {str(count): partial(infer, prompts) for count, prompts in dense.items()}, rounds
        )
        found = rows_of("dense prompts", seconds)
        banks = {count: bank_of(bundle, count) for count in LISTS}
        outputs = {count: _copy(infer(bank.graph_rows)) for count, bank in banks.items()}
    finally:
        engine.close()
    calls = {str(count): _lookup(bundle, banks[count], outputs[count], tile) for count in LISTS}
    return found + rows_of("lookup of 300 places", take_turns(calls, rounds))


def sentences(bundle: Bundle, count: int) -> F32:
    """(count, D + E) float32 rows, as unlike each other as sentences of one kind are."""
    width = bundle.manifest.embedding_width
    random = np.random.default_rng(_SEED)
    mean = random.normal(size=width)
    made = mean / np.linalg.norm(mean) + _AROUND * random.normal(size=(count, width)) / np.sqrt(width)
    found = np.zeros((count, bundle.manifest.row_width), np.float32)
    found[:, :width] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return found


def bank_of(bundle: Bundle, count: int) -> PromptBank:
    """The bank of a list of `count` object prompts, a sentence each."""
    from edge.prompts.build import build_prompt_bank, in_memory_list

    prompts = tuple(Prompt(id=f"p{number}", text=(str(number),)) for number in range(count))
    return build_prompt_bank(
        in_memory_list(PromptList(prompts=prompts)),
        _Ready(sentences(bundle, count)[:, : bundle.manifest.embedding_width]),
        bundle.manifest,
        bundle.calibration,
    )


class _Ready:
    """A text tower for sentences that are numbers of rows."""

    def __init__(self, embeddings: F32) -> None:
        self._embeddings = embeddings

    def encode(self, texts: Sequence[str]) -> F32:
        found: F32 = self._embeddings[[int(text) for text in texts]]
        return found


def _copy(output: EngineOutput) -> EngineOutput:
    """Of the engine's own memory, which the next call overwrites."""
    return replace(
        output,
        scene=output.scene.copy(),
        embedding=output.embedding.copy(),
        place_box=output.place_box.copy(),
        place_embedding=output.place_embedding.copy(),
        place_logit=output.place_logit.copy(),
    )


def _lookup(bundle: Bundle, bank: PromptBank, output: EngineOutput, tile: U8) -> Callable[[], object]:
    from edge.letterbox import Letterbox
    from edge.lookup import lookup

    height, width = tile.shape[1:3]
    fit = Letterbox.fit(width, height, width, height)
    return lambda: lookup(output, 0, bank, bundle.calibration, fit)
