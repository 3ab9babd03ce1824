"""The review page: one HTML file on which a person looks at pairs, writes questions and exports the set."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from training.blindpairs.questions import PATTERNS
from training.blindpairs.set_file import BlindPairSet, document_of
from training.blindpairs.sheet import thumbnail

_SIDE = 384
_QUALITY = 80
# MMVP's nine visual patterns, as far as they are about pictures from above, beside this project's own.
_MORE_PATTERNS = ("state", "colour", "arrangement", "text", "viewpoint")


def render(found: BlindPairSet, right: NDArray[np.bool_] | None, dataset: str) -> str:
    """The page's HTML; it needs nothing else, and sends nothing anywhere.

    right: (Q, 2) which statements found their image, None where nothing was asked.
    """
    import jinja2
    from markupsafe import Markup

    folder = files("training.blindpairs")
    style, script = ((folder / f"review.{kind}").read_text("utf-8") for kind in ("css", "js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "review.html").read_text("utf-8"))
    return template.render(
        dataset=dataset,
        found=found,
        pairs=[_pair(found, number, right) for number in range(len(found.pairs))],
        patterns=(*PATTERNS, *_MORE_PATTERNS),
        style=Markup(style),
        script=Markup(script),
        # Nothing but these two runs, whatever a file name or a statement holds.
        style_hash=_hash(style),
        script_hash=_hash(script),
        document=Markup(_embedded(found)),
    )


def _pair(found: BlindPairSet, number: int, right: NDArray[np.bool_] | None) -> dict[str, object]:
    pair = found.pairs[number]
    asked = []
    for index, question in enumerate(found.questions):
        if question.pair == number:
            told = ("", "") if right is None else tuple("right" if r else "wrong" for r in right[index])
            asked.append({"question": question, "told": told})
    return {
        "pair": pair,
        "asked": asked,
        "pictures": [_picture(found, name) for name in (pair.first, pair.second)],
    }


def _picture(found: BlindPairSet, name: str) -> str:
    bgr = cv2.cvtColor(thumbnail(found, name, _SIDE), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return base64.b64encode(encoded.tobytes()).decode()


def _embedded(found: BlindPairSet) -> str:
    """The set as JSON inside a script element, which only a less-than sign could end."""
    return json.dumps(document_of(found), ensure_ascii=False).replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
