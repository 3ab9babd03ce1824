"""The options of a data recipe that say how captions are worded."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from firmware_cfg.base import ConfigModel
from firmware_cfg.problems import must
from training.captioning.box_to_caption import BoxToCaption
from training.captioning.class_to_caption import ClassToCaption


def _words(value: str) -> str:
    if not value.strip():
        raise must("have words in it")
    return value


Text = Annotated[str, AfterValidator(_words)]
Phrases = Annotated[list[Text], Field(min_length=1)]


def _wording(value: str) -> str:
    if value.count("{}") != 1 or value.count("{") != 1 or value.count("}") != 1:
        raise must("hold {} once, where the things go, and no other braces")
    return value


_Side = Annotated[float, Field(gt=0, le=1)]
Wordings = Annotated[list[Annotated[str, AfterValidator(_wording)]], Field(min_length=1)]


class CaptionOptions(ConfigModel):
    """Box-to-Caption and class-to-caption; a table of wordings left out keeps its default."""

    captions: int = Field(default=5, ge=1, le=20, description="sentences an image")
    centre: tuple[_Side, _Side] = Field(
        default=(0.5, 0.5), description="width and height of the centre window, as fractions of the image"
    )
    many_above: int = Field(default=10, ge=1, description="counts above it are told by a general word")
    digits: bool = Field(default=False, description="`3 cars` instead of `three cars`")
    classes: int = Field(default=3, ge=1, description="classes that one sentence may name")
    vary: bool = Field(default=True, description="draw one of a class's nouns for each image; else the first")
    in_centre: Wordings | None = None
    at_edge: Wordings | None = None
    counts: Wordings | None = None
    both: Wordings | None = None
    many: Phrases | None = None
    of_class: Wordings | None = Field(default=None, description="of a scene label")
    of_areas: Wordings = Field(
        default=["{} seen from above", "the picture shows {}", "an aerial image with {}"],
        description="of a mask's areas, which are named and not counted",
    )

    def box_to_caption(self, seed: int) -> BoxToCaption:
        """Box-to-Caption by these options."""
        names = ("in_centre", "at_edge", "counts", "both", "many")
        tables: dict[str, Any] = {name: tuple(t) for name in names if (t := getattr(self, name)) is not None}
        return BoxToCaption(
            captions=self.captions,
            centre=self.centre,
            many_above=self.many_above,
            digits=self.digits,
            classes=self.classes,
            seed=seed,
            **tables,
        )

    def class_to_caption(self, seed: int) -> ClassToCaption:
        """Class-to-caption by these options."""
        if self.of_class is None:
            return ClassToCaption(captions=self.captions, seed=seed)
        return ClassToCaption(captions=self.captions, wordings=tuple(self.of_class), seed=seed)
