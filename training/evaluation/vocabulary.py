"""Class names as prompt lists: what an evaluation asks the model for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from firmware_cfg.prompt_list import PromptList

OBJECT_SENTENCES = ("{}", "a {}", "a {} seen from above")
SCENE_SENTENCES = ("a satellite photo of {}.", "an aerial photo of a {}", "a {}")

# Words for class names that are no words. Everything else is the name with its separators as spaces.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "hit_uav": {"OtherVehicle": "large vehicle"},
    "urban_trees": {"point": "tree"},
    "semantic_drone": {"paved-area": "paved area", "bald-tree": "bare tree"},
    "ucm_captions": {
        "baseballdiamond": "baseball diamond",
        "chaparral": "chaparral or shrubland",
        "denseresidential": "dense residential area",
        "golfcourse": "golf course",
        "intersection": "road intersection",
        "mediumresidential": "medium residential area",
        "mobilehomepark": "mobile home park",
        "parkinglot": "parking lot",
        "runway": "airport runway",
        "sparseresidential": "sparse residential area",
        "storagetanks": "storage tanks",
        "tenniscourt": "tennis court",
    },
    "resisc12": {"residential": "residential area"},
    "eurosat": {
        "AnnualCrop": "annual crop land",
        "HerbaceousVegetation": "brushland or shrubland",
        "Highway": "highway or road",
        "Industrial": "industrial buildings or commercial buildings",
        "Pasture": "pasture land",
        "PermanentCrop": "permanent crop land",
        "Residential": "residential buildings or homes",
        "SeaLake": "lake or sea",
    },
}


def words(dataset: str, class_name: str) -> str:
    """A class name as a phrase: `baseball_diamond` and `BaseballDiamond` become `baseball diamond`."""
    known = _WORDS.get(dataset, {}).get(class_name)
    if known:
        return known
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name)
    return re.sub(r"[_\-\s]+", " ", spaced).strip().lower()


def prompt_id(class_name: str) -> str:
    """A class name as a prompt id."""
    return re.sub(r"[^a-z0-9_-]", "_", words("", class_name).replace(" ", "_"))


def object_list(dataset: str, names: Sequence[str], thresholds: Mapping[str, float] | float) -> PromptList:
    """A prompt list that counts every class; thresholds by class name, or one for all."""
    return PromptList.model_validate(
        {
            "prompts": [
                {
                    "id": prompt_id(name),
                    "text": [sentence.format(words(dataset, name)) for sentence in OBJECT_SENTENCES],
                    "threshold": thresholds if isinstance(thresholds, float) else thresholds[name],
                }
                for name in names
            ]
        }
    )
