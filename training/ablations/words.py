"""Sentence embeddings whose last MiniLM layer can be tuned: what comes before it is computed once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edge.files import write_atomically
from training.models.text import MINILM_WIDTH, MiniLM, load_tokenizer
from training.progress import track

_BATCH = 128


class WordBank:
    """What MiniLM's last layer is given for each of some sentences, token after token in half precision.

    `file` (.npy) keeps it, beside a digest of the sentences that it is for.
    """

    def __init__(self, minilm: MiniLM, texts: Sequence[str], file: Path) -> None:
        encoded = _token_ids(texts)
        lengths = np.array([len(ids) for ids in encoded])
        self.index = {text: row for row, text in enumerate(texts)}
        self._length = torch.from_numpy(lengths)
        self._first = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]))
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        marker = file.with_suffix(".txt")
        if not (file.is_file() and marker.is_file() and marker.read_text("ascii") == digest):
            file.parent.mkdir(parents=True, exist_ok=True)
            marker.unlink(missing_ok=True)
            np.save(file, self._compute(minilm, encoded))
            write_atomically(marker, digest.encode())
        self._tokens = torch.from_numpy(np.load(file))

    @torch.inference_mode()
    def _compute(self, minilm: MiniLM, encoded: Sequence[Sequence[int]]) -> NDArray[np.float16]:
        tokens = np.empty((int(self._length.sum()), MINILM_WIDTH), np.float16)
        order = torch.argsort(self._length)
        for rows in track(torch.split(order, _BATCH), "sentences"):
            ids, mask = _padded([encoded[row] for row in rows.tolist()])
            bert = cast(Any, minilm.bert)
            states = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
            for row, state in zip(rows.tolist(), states, strict=True):
                first, length = int(self._first[row]), int(self._length[row])
                tokens[first : first + length] = state[:length].numpy()
        return tokens

    def rows(self, texts: Sequence[str]) -> Tensor:
        """Row numbers of sentences that are in the bank."""
        return torch.tensor([self.index[text] for text in texts])

    def states(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (R, L, 384) float32 of rows (R,), and which of them are tokens, (R, L) bool."""
        length = self._length[rows]
        place = torch.arange(int(length.max()))
        mask = place < length[:, None]
        return self._tokens[self._first[rows][:, None] + place * mask].float(), mask


def _token_ids(texts: Sequence[str]) -> list[list[int]]:
    tokenizer = load_tokenizer()
    tokenizer.no_padding()
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _padded(encoded: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids in encoded)
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in encoded])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in encoded])


class LastLayer(nn.Module):
    """A copy of MiniLM's last layer over a bank: row numbers (R,) -> unit sentence embeddings (R, 384)."""

    def __init__(self, minilm: MiniLM, bank: WordBank) -> None:
        super().__init__()
        self.layer = copy.deepcopy(cast(Any, minilm.bert).encoder.layer[-1]).requires_grad_(True).eval()
        self._bank = bank

    def forward(self, rows: Tensor) -> Tensor:
        hidden, mask = self._bank.states(rows)
        closed = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        output = self.layer(hidden, closed[:, None, None, :])
        states = output[0] if isinstance(output, tuple) else output
        weight = mask[:, :, None].float()
        return F.normalize((states * weight).sum(1) / weight.sum(1), dim=1)

    @torch.inference_mode()
    def of(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (len(texts), 384) of sentences that are in the bank."""
        return self.of_rows(self._bank.rows(texts))

    @torch.inference_mode()
    def of_rows(self, rows: Tensor) -> Tensor:
        """Unit embeddings (R, 384) of bank rows (R,), each computed once."""
        unique, inverse = torch.unique(rows, return_inverse=True)
        return torch.cat([self(part) for part in torch.split(unique, _BATCH)])[inverse]


class Rows(nn.Module):
    """A last layer, asked by the numbers that a data set gives its sentences; at: (T,) their bank rows."""

    def __init__(self, layer: LastLayer, at: Tensor) -> None:
        super().__init__()
        self.layer, self._at = layer, at

    def forward(self, numbers: Tensor) -> Tensor:
        return cast(Tensor, self.layer(self._at[numbers]))
