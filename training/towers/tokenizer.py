"""CLIP's byte-pair tokenizer as a `tokenizers` file: a device reads sentences without open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)

START, END = "<start_of_text>", "<end_of_text>"
# open_clip's own split. Its control tokens are left out: written in a sentence they are text, not control.
_WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
# What open_clip's cleaning (ftfy) does to text that keyboards and word processors produce. The rest of it
# (wrongly decoded text, HTML entities, ligatures, full-width letters) is for whoever reads such files.
_STRAIGHTENED = (("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'))


@lru_cache(maxsize=1)
def clip_tokenizer() -> Any:
    """A `tokenizers.Tokenizer` with open_clip's vocabulary and merges: ids as `open_clip.SimpleTokenizer`.

    Start and end tokens are added; neither truncates nor pads. Do not change the shared object.
    """
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    source = SimpleTokenizer()
    merges = [pair for pair, _ in sorted(source.bpe_ranks.items(), key=lambda entry: entry[1])]
    tokenizer = Tokenizer(models.BPE(vocab=source.encoder, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            *(normalizers.Replace(Regex(found), put) for found, put in _STRAIGHTENED),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = [(START, source.encoder[START]), (END, source.encoder[END])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=special
    )
    return tokenizer


def clip_tokens(texts: Sequence[str], context_length: int) -> Tensor:
    """Token ids (T, L) int64, padded with 0 to the longest; cut at `context_length`, the end token kept."""
    rows = [encoding.ids for encoding in clip_tokenizer().encode_batch(list(texts))]
    rows = [ids if len(ids) <= context_length else [*ids[: context_length - 1], ids[-1]] for ids in rows]
    tokens = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int64)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return tokens
