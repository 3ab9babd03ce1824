"""The golden vectors asked of an engine in both ways it runs: kernel by kernel, and as a CUDA graph."""

from __future__ import annotations

from dataclasses import replace

from edge.bundle.golden import Golden, check_image_engine
from edge.engines.base import EngineOutput, ImageEngine


def golden_problems(engine: ImageEngine, golden: Golden, max_batch: int) -> tuple[str, ...]:
    """What an engine gets wrong, a line each; empty when all is well.

    The first run with new shapes is plain, all later ones replay a graph recorded at the second. Both are
    compared, and the replays with two sets of inputs: a graph that computes nothing would leave the outputs
    of the run before where they are found.

    Args:
        engine: what is judged; it has run nothing yet.
        golden: its golden vectors, at its size.
        max_batch: most tiles it takes at once. More run in parts, without a graph where these differ.

    Raises EngineError.
    """
    if plain := check_image_engine(engine, golden).problems:
        return plain
    part = _first(golden, max_batch)
    for again in (part, _turned(part)):
        if problems := check_image_engine(engine, again).problems:
            return tuple(f"run again, {problem}" for problem in problems)
    return ()


def _first(golden: Golden, count: int) -> Golden:
    """The first `count` tiles."""
    expected = golden.expected
    return replace(
        golden,
        image=golden.image[:count],
        expected=EngineOutput(
            scene=expected.scene[:count],
            embedding=expected.embedding[:count],
            place_box=expected.place_box[:count],
            place_embedding=expected.place_embedding[:count],
            place_logit=expected.place_logit[:count],
        ),
    )


def _turned(golden: Golden) -> Golden:
    """Tiles and prompts in the opposite order: other inputs of the same shapes, whose outputs are known."""
    expected = golden.expected
    return replace(
        golden,
        image=golden.image[::-1],
        prompts=golden.prompts[::-1],
        bias=golden.bias[::-1],
        expected=EngineOutput(
            scene=expected.scene[::-1, ::-1],
            embedding=expected.embedding[::-1],
            place_box=expected.place_box[::-1],
            place_embedding=expected.place_embedding[::-1],
            place_logit=expected.place_logit[::-1, :, ::-1],
        ),
    )
