"""RemoteCLIP's towers by open_clip: RN50, ViT-B-32, ViT-B-16 and ViT-L-14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)
from firmware_cfg.errors import UsageError
from training.errors import CheckpointError
from training.models.lite import Dense
from training.towers.base import Towers, unit
from training.towers.grid import Grid, ImageGrid, ResNetGrid, VitGrid
from training.towers.spec import ClipSpec, tower_config
from training.towers.tokenizer import clip_tokens
from training.towers.weights import read_weights


class ClipTowers(Towers):
    """An open_clip model with OpenAI's towers; see Towers for images and embeddings.

    Attributes:
        spec: what model.json records of it.
        model: the open_clip model; its state dict has the official names.
        stride: pixels per cell of the dense grid.
        mean, std: per channel, of images scaled to 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ClipSpec) -> None:
        """Towers with random weights."""
        super().__init__()
        vision = spec.config.vision_cfg
        self.spec = spec
        self.name = spec.model
        self.embedding_width = spec.config.embed_dim
        self.image_size = vision.image_size
        self.stride = vision.stride
        self.model: Any = _open_clip_model(spec)
        self._grid: ImageGrid = (VitGrid if isinstance(vision.layers, int) else ResNetGrid)(self.model.visual)
        mean, std = _normalisation()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @classmethod
    def with_weights(cls, spec: ClipSpec, state: Mapping[str, Tensor], file: Path) -> ClipTowers:
        """Towers with float32 weights by their official names, which they take over without a copy.

        Raises CheckpointError naming `file` where the weights do not fit.
        """
        with torch.device("meta"):  # no time is spent on random weights that nobody wants
            towers = cls(spec)
        try:
            towers.model.load_state_dict(state, assign=True)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{file}: not the weights of {spec.model} ({detail})") from error
        # What no state dict holds.
        length = spec.config.text_cfg.context_length
        towers.model.attn_mask = torch.full((length, length), -torch.inf).triu_(1)
        towers.mean, towers.std = _normalisation()
        return towers

    @property
    def logit_scale(self) -> Tensor:
        return cast(Tensor, self.model.logit_scale)

    def normalise(self, image: Tensor) -> Tensor:
        """(N, H, W, 3) of 0 to 255 -> (N, 3, H, W) as the tower was trained; ValueError off the grid."""
        shape = image.shape
        if image.ndim != 4 or shape[3] != 3 or shape[1] % self.stride or shape[2] % self.stride:
            raise ValueError(
                f"{self.name} takes images (N, H, W, 3) with sides that are multiples of {self.stride},"
                f" not {tuple(shape)}"
            )
        # The cast comes before the transpose: TensorRT takes a uint8 input into a Cast only.
        return ((image.float() / 255.0 - self.mean) / self.std).permute(0, 3, 1, 2)

    def encode_image(self, image: Tensor) -> Tensor:
        """(N, H, W, 3), sides multiples of the stride -> unit embeddings (N, D).

        At the native size this is open_clip's own forward; at others the position embedding is resampled.
        """
        x = self.normalise(image)
        if x.shape[2:] == (self.image_size, self.image_size):
            return unit(self.model.visual(x))
        return unit(self._grid.pool(self._grid.features(x), self._shape(image)))

    def dense(self, image: Tensor) -> Tensor:
        """Unit embeddings of the cells, (N, D, h, w), by the value path (see training.towers.grid)."""
        return self._cells(self._grid.features(self.normalise(image)), self._shape(image))

    def places(self, image: Tensor) -> Dense:
        """Cells and image embedding from one pass; a cell's box is the cell, for want of a box head."""
        features, grid = self._grid.features(self.normalise(image)), self._shape(image)
        cell = self._cells(features, grid)
        return Dense(cell, torch.zeros_like(cell[:, :4]), unit(self._grid.pool(features, grid)))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return clip_tokens(texts, self.spec.config.text_cfg.context_length)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Token ids (T, L), L at most the context length -> unit embeddings (T, D).

        Attention is causal, so what follows the end token changes nothing and need not be computed.
        """
        model, length = self.model, tokens.shape[1]
        dtype = model.transformer.get_cast_dtype()
        x = model.token_embedding(tokens).to(dtype) + model.positional_embedding[:length].to(dtype)
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        end = tokens.argmax(dim=1)  # the end token has the highest number
        return unit(x[torch.arange(len(x), device=x.device), end] @ model.text_projection)

    def _cells(self, features: Tensor, grid: Grid) -> Tensor:
        cells = unit(self._grid.cells(features, grid))
        return cells.transpose(1, 2).reshape(cells.shape[0], self.embedding_width, *grid)

    def _shape(self, image: Tensor) -> Grid:
        return image.shape[1] // self.stride, image.shape[2] // self.stride


def create_tower(name: str, pretrained: Path | None = None, quick_gelu: bool | None = None) -> ClipTowers:
    """Towers in training mode, float32, with the weights of an official file or random ones.

    Args:
        name: one of training.towers.spec.TOWERS, or the path of an open_clip config file.
        pretrained: OpenAI's JIT archive or state dict, RemoteCLIP's .pt, or an open_clip .pt or .safetensors.
        quick_gelu: the activation that the weights were trained with. OpenAI's and RemoteCLIP's files tell
            it themselves; for an open_clip file it must be given. Random weights get QuickGELU by default.

    Raises:
        UsageError: unknown name, or an activation that is missing or contradicts the file or config.
        CheckpointError: the file cannot be read or does not fit the towers.
    """
    model, config = tower_config(name)
    stated = config.quick_gelu
    if stated is not None and quick_gelu not in (None, stated):
        raise UsageError(f"{name}: says quick_gelu: {str(stated).lower()}, the caller the opposite")
    quick_gelu = stated if quick_gelu is None else quick_gelu
    config = config.model_copy(update={"quick_gelu": None})
    if pretrained is None:
        chosen = True if quick_gelu is None else quick_gelu
        return ClipTowers(ClipSpec(model=model, config=config, quick_gelu=chosen, origin="random"))
    weights = read_weights(pretrained)
    spec = ClipSpec(
        model=model, config=config, quick_gelu=weights.activation(quick_gelu), origin=weights.origin
    )
    return ClipTowers.with_weights(spec, weights.state, pretrained)


def _normalisation() -> tuple[Tensor, Tensor]:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    return torch.tensor(OPENAI_DATASET_MEAN), torch.tensor(OPENAI_DATASET_STD)


def _open_clip_model(spec: ClipSpec) -> nn.Module:
    from open_clip.model import CLIP

    config = spec.config
    model: nn.Module = CLIP(
        config.embed_dim,
        config.vision_cfg.model_dump(),
        config.text_cfg.model_dump(),
        quick_gelu=spec.quick_gelu,
    )
    return model
