"""A search text as the model reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.prompts.text_encoder import TextTooLong
from firmware_cfg.errors import UsageError

if TYPE_CHECKING:
    from edge.engines.base import F32
    from edge.prompts.text_encoder import SentenceEncoder

TEMPLATE = "an aerial photo of {}"
"""What a text is put into. Averaging several wordings is no better: docs/decisions/016."""


def embed_query(text: str, encoder: SentenceEncoder) -> F32:
    """(D,) float32 of unit length.

    Raises:
        UsageError: the text is empty, or longer than the text tower reads.
        EngineError, MissingExtra: the text tower failed.
    """
    words = " ".join(text.split())
    if not words:
        raise UsageError('the text to search for is empty (say what to look for, such as "coal storage")')
    try:
        (embedding,) = encoder.encode([TEMPLATE.format(words)])
    except TextTooLong as error:
        raise UsageError(f"{error} (search for less at once)") from error
    unit: F32 = embedding
    return unit
