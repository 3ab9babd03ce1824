"""Which background sentence would take the wrong crops away and leave the right ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.tune.calibrate import Bools, Line, judge, leave_one_out
from edge.tune.scoring import Ints, Scored, Scorer, base_odds, probability, with_background
from firmware_cfg.prompt_list import GRAPH_ROWS

if TYPE_CHECKING:
    from edge.engines.base import F32
    from edge.prompts.text_encoder import SentenceEncoder
    from edge.tune.sightings import Sightings
    from firmware_cfg.prompt_list import Prompt

log = logging.getLogger(__name__)

VOCABULARY = (
    "a roof", "a red tiled roof", "a skylight on a roof", "a chimney", "solar panels on a roof", "a balcony",
    "the shadow of a building", "a shadow on the ground", "road markings on asphalt", "a pedestrian crossing",
    "an empty road", "an empty parking lot", "a pavement", "a railway track", "a street lamp",
    "a traffic sign", "a waste container", "a market stall", "a parasol", "a tent", "a swimming pool",
    "a fence", "a wall",
    "bare ground", "sand", "gravel", "rocks", "dry grass", "a lawn", "a field", "a bush", "a tree",
    "fallen tree trunks", "open water", "waves and foam on the water", "sun glitter on the water", "a buoy",
    "a pier", "snow", "ice", "a cloud", "an animal seen from above",
)  # fmt: skip
"""What drones see and nobody looks for, from which sentences are suggested."""
WORTH = 0.9
"""A sentence is suggested where it brings the marks' leave-one-out loss below this share of what it was."""
MOST_LOST = 0.02
"""And where no other prompt loses more than this share of what it finds."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """A background sentence, its row (1, D + E), and what is added to its logits, (1,)."""

    sentence: str
    row: F32
    bias: F32


def suggest(
    scorer: Scorer,
    sightings: Sightings,
    scored: Scored,
    prompt: Prompt,
    index: Ints,
    right: Bools,
    prior: Line,
    encoder: SentenceEncoder,
) -> Suggested | None:
    """The sentence of VOCABULARY that helps most, where one truly helps; object prompts only.

    Args:
        scored: the sightings by the list as it is.
        index, right: (n,) the marked places and what they were marked as.
        prior: the line in force.

    Raises:
        EngineError, MissingExtra: the text tower failed.
    """
    layout = scored.bank.layout
    model = scored.bank.prompt_list
    taken = {text.casefold() for text in model.background}
    taken |= {text.casefold() for prompt in model.prompts for text in prompt.text}
    sentences = [text for text in VOCABULARY if text.casefold() not in taken]
    if right.all() or not right.any():
        return None
    if layout.end >= GRAPH_ROWS:
        problem = f"the list has {layout.end} rows already (at most {GRAPH_ROWS - 1})"
        log.warning("%s: no background sentence is suggested: %s", prompt.id, problem)
        return None
    rows, bias = scorer.background_rows(encoder.encode(sentences))
    column = layout.object_ids.index(prompt.id)
    u = base_odds(scored, prompt)[index]
    least = WORTH * judge(leave_one_out(u, right, prior), right).loss
    logits = scorer.logits(sightings.embedding[index], rows) + bias
    # By how far a sentence outdoes the others on wrong crops more than on right ones: the few best are tried.
    promising = np.argsort(-(logits[~right].mean(axis=0) - logits[right].mean(axis=0)), kind="stable")[:8]
    best: Suggested | None = None
    for number in promising.tolist():
        one = slice(number, number + 1)
        with_it = scorer.score(sightings, with_background(scored.bank, rows[one], bias[one], scorer.facts))
        u = base_odds(with_it, prompt)[index]
        loss = judge(leave_one_out(u, right, prior), right).loss
        if loss < least and _others_lose(scored, with_it, column) <= MOST_LOST:
            best, least = Suggested(sentences[number], rows[one], bias[one]), loss
    return best


def _others_lose(before: Scored, after: Scored, column: int) -> float:
    """The largest share that another prompt loses of the places it finds."""
    worst = 0.0
    for other, name in enumerate(before.bank.layout.object_ids):
        found = before.found(name)
        if other != column and len(found):
            threshold = before.bank.thresholds[name]
            still = probability(after.object_odds[found, other]) >= threshold
            worst = max(worst, 1 - float(still.mean()))
    return worst
