"""The classes of a map, and the sentences that stand for each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import load_prompt_list

MOST_CLASSES = 200
"""A class map counts in bytes, of which the last stands for no data."""

_TEMPLATES = ("{} seen from above", "an aerial photo of {}", "a satellite photo of {}", "{}")


@dataclass(frozen=True, slots=True)
class LandCover:
    """A class: its name, and sentences whose mean embedding it is looked for by."""

    name: str
    sentences: tuple[str, ...]


def classes_from_names(text: str) -> list[LandCover]:
    """Classes of a comma-separated list. Names that the shipped list knows get its wordings.

    Raises UsageError for fewer than two names, or one twice.
    """
    known = {each.name: each for each in shipped_classes()}
    names = [name for part in text.split(",") if (name := " ".join(part.split()).lower())]
    wordings = [LandCover(n, tuple(template.format(n) for template in _TEMPLATES)) for n in names]
    return _checked([known.get(each.name, each) for each in wordings], "--classes")


def classes_from_list(path: Path) -> list[LandCover]:
    """Classes of a prompt list, whatever its kinds. Raises UsageError, ConfigErrors."""
    prompts = load_prompt_list(path).model.prompts
    return _checked([LandCover(prompt.id, tuple(prompt.text)) for prompt in prompts], str(path))


def shipped_classes() -> list[LandCover]:
    """The project's own wordings of common land cover."""
    with as_file(files("training.hyperspectral") / "land_cover.yaml") as path:
        return classes_from_list(path)


def _checked(classes: list[LandCover], where: str) -> list[LandCover]:
    names = [each.name for each in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: {', '.join(twice)} named twice (name each class once)")
    if len(classes) < 2:
        raise UsageError(
            f"{where}: a map needs at least two classes (such as --classes tree,water,soil,road)"
        )
    if len(classes) > MOST_CLASSES:
        raise UsageError(f"{where}: {len(classes)} classes, a map has at most {MOST_CLASSES}")
    return classes
