"""Prompt protocols of zero-shot classification, pinned: figures under different ones do not compare.

RemoteCLIP's gain over CLIP vanishes under SkyScript's prompts, so both are offered beside our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.engines.base import F32
from firmware_cfg.errors import UsageError
from training.evaluation.vocabulary import SCENE_SENTENCES, words

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

DEFAULT_PROTOCOL = "default"

# OpenAI's own names for EuroSAT (CLIP repository, data/prompts.md).
_EUROSAT: Mapping[str, str] = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments",
    "River": "river",
    "SeaLake": "lake or sea",
}
# The UC Merced authors' names; the caption set runs them together.
_UCM: Mapping[str, str] = {
    "baseballdiamond": "baseball diamond",
    "denseresidential": "dense residential",
    "golfcourse": "golf course",
    "mediumresidential": "medium residential",
    "mobilehomepark": "mobile home park",
    "parkinglot": "parking lot",
    "sparseresidential": "sparse residential",
    "storagetanks": "storage tanks",
    "tenniscourt": "tennis court",
}


@dataclass(frozen=True, slots=True)
class PromptProtocol:
    """How a class name becomes the sentences whose mean embedding stands for the class.

    class_words: by data set, names that are not simply their words; None takes the words that this project's
    own prompts use (training.evaluation.vocabulary).
    """

    name: str
    templates: tuple[str, ...]
    class_words: Mapping[str, Mapping[str, str]] | None
    source: str

    def sentences(self, dataset: str, class_name: str) -> tuple[str, ...]:
        """The sentences of one class of a set."""
        if self.class_words is None:
            phrase = words(dataset, class_name)
        else:
            # words("", ...) only splits a name at its separators.
            phrase = self.class_words.get(dataset, {}).get(class_name) or words("", class_name)
        return tuple(template.format(phrase) for template in self.templates)


_PLAIN = {"eurosat": _EUROSAT, "ucm_captions": _UCM}
_ALL = (
    PromptProtocol(DEFAULT_PROTOCOL, SCENE_SENTENCES, None, "this project"),
    # Neither publication prints its class names; both are taken to be the sets' own.
    PromptProtocol(
        "remoteclip", ("a satellite photo of {}.",), _PLAIN, "RemoteCLIP, arXiv 2306.11029, section IV"
    ),
    PromptProtocol(
        "skyscript",
        ("a satellite photo of {}.", "a satellite image of {}"),
        _PLAIN,
        "SkyScript, arXiv 2312.12856; github.com/wangzhecheng/SkyScript, prompt_templates.py, df09dc8",
    ),
)
PROTOCOLS: Mapping[str, PromptProtocol] = {protocol.name: protocol for protocol in _ALL}


def prompt_protocol(name: str) -> PromptProtocol:
    """A protocol by its name. Raises UsageError for an unknown one."""
    if name not in PROTOCOLS:
        raise UsageError(f"there is no prompt protocol {name!r} (choose one of {', '.join(PROTOCOLS)})")
    return PROTOCOLS[name]


def class_sentences(protocol: PromptProtocol, dataset: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each class's sentences. Raises UsageError where two classes read alike."""
    found = [protocol.sentences(dataset, name) for name in names]
    for number, sentences in enumerate(found):
        if (first := found.index(sentences)) != number:
            raise UsageError(
                f"{dataset}: classes {names[first]} and {names[number]} both read {sentences[0]!r}"
                " (rename one of them)"
            )
    return found


def class_embeddings(subject: Subject, prompts: PromptProtocol, dataset: str, names: Sequence[str]) -> F32:
    """(C, D): of each class the mean of its sentences' embeddings, made unit."""
    sentences = class_sentences(prompts, dataset, names)
    rows = subject.text_embeddings([text for texts in sentences for text in texts], f"{dataset}: classes")
    mean = rows.reshape(len(names), len(prompts.templates), -1).mean(axis=1)
    unit: F32 = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit
