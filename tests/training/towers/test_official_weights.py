from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from firmware_cfg.errors import UsageError
from training.errors import CheckpointError
from training.towers.clip import ClipTowers, create_tower

Draw = Callable[[str], dict[str, Tensor]]
Pictures = Callable[[int, int], Tensor]
F64 = NDArray[np.float64]
SENTENCES = ["a satellite photo of a harbour.", "two boats"]
PATCH, HEADS = 8, {"visual.": 3, "": 2}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


# OpenAI's forward, written out in numpy from their published model; nothing of open_clip or torch in it.


def quick_gelu(x: F64) -> F64:
    return x / (1 + np.exp(-1.702 * x))


def layer_norm(x: F64, state: dict[str, F64], name: str) -> F64:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: F64, state: dict[str, F64], name: str) -> F64:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def attention(x: F64, state: dict[str, F64], name: str, heads: int, causal: bool) -> F64:
    projected = x @ state[f"{name}.in_proj_weight"].T + state[f"{name}.in_proj_bias"]
    length, width = x.shape
    q, k, v = (part.reshape(length, heads, -1).swapaxes(0, 1) for part in np.split(projected, 3, axis=1))
    weight = q @ k.swapaxes(1, 2) / np.sqrt(width / heads)
    if causal:
        weight = np.where(np.tri(length, dtype=bool), weight, -np.inf)
    weight = np.exp(weight - weight.max(axis=2, keepdims=True))
    weight /= weight.sum(axis=2, keepdims=True)
    return linear((weight @ v).swapaxes(0, 1).reshape(length, width), state, f"{name}.out_proj")


def block(x: F64, state: dict[str, F64], name: str, heads: int, causal: bool) -> F64:
    x = x + attention(layer_norm(x, state, f"{name}.ln_1"), state, f"{name}.attn", heads, causal)
    hidden = quick_gelu(linear(layer_norm(x, state, f"{name}.ln_2"), state, f"{name}.mlp.c_fc"))
    return x + linear(hidden, state, f"{name}.mlp.c_proj")


def unit(x: F64) -> F64:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def image_tokens(picture: Tensor, state: dict[str, F64]) -> F64:
    """Tokens (1 + 16, width) before the last block."""
    x = (picture.numpy() / 255.0 - MEAN) / STD
    side = x.shape[0] // PATCH
    patches = x.reshape(side, PATCH, side, PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(side * side, -1)
    kernel = state["visual.conv1.weight"]
    x = np.concatenate((state["visual.class_embedding"][None], patches @ kernel.reshape(len(kernel), -1).T))
    x = layer_norm(x + state["visual.positional_embedding"], state, "visual.ln_pre")
    return block(x, state, "visual.transformer.resblocks.0", HEADS["visual."], False)


def image_embedding(picture: Tensor, state: dict[str, F64]) -> F64:
    x = block(image_tokens(picture, state), state, "visual.transformer.resblocks.1", HEADS["visual."], False)
    return unit(layer_norm(x[0], state, "visual.ln_post") @ state["visual.proj"])


def cell_embeddings(picture: Tensor, state: dict[str, F64]) -> F64:
    """(4, 4, D): the value path of the last block, written out."""
    name = "visual.transformer.resblocks.1"
    x = layer_norm(image_tokens(picture, state)[1:], state, f"{name}.ln_1")
    width = x.shape[1]
    weight, bias = state[f"{name}.attn.in_proj_weight"], state[f"{name}.attn.in_proj_bias"]
    value = linear(x @ weight[2 * width :].T + bias[2 * width :], state, f"{name}.attn.out_proj")
    return unit(layer_norm(value, state, "visual.ln_post") @ state["visual.proj"]).reshape(4, 4, -1)


def text_embedding(ids: list[int], state: dict[str, F64]) -> F64:
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: len(ids)]
    for number in range(2):
        x = block(x, state, f"transformer.resblocks.{number}", HEADS[""], True)
    return unit(layer_norm(x[-1], state, "ln_final") @ state["text_projection"])


# The kinds of files that are in use, each made from the same state dict.


def openai_numbers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    numbers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    return {k: v.half() for k, v in state.items()} | {k: torch.tensor(v) for k, v in numbers.items()}


class Passing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def jit_archive(state: dict[str, Tensor], folder: Path) -> Path:
    root = Passing()
    for name, value in openai_numbers(state).items():
        *parents, leaf = name.split(".")
        module: nn.Module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, Passing())
            module = getattr(module, parent)
        module.register_buffer(leaf, value)
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), folder / "ViT-B-32.pt")
    return folder / "ViT-B-32.pt"


def openai_state(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(openai_numbers(state), folder / "openai.pt")
    return folder / "openai.pt"


def remoteclip(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "RemoteCLIP-ViT-B-32.pt")
    return folder / "RemoteCLIP-ViT-B-32.pt"


def open_clip_run(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / "e3.pt")
    return folder / "e3.pt"


def safetensors(state: dict[str, Tensor], folder: Path) -> Path:
    save_file(state, folder / "open_clip_model.safetensors")
    return folder / "open_clip_model.safetensors"


TELLING = [jit_archive, openai_state, remoteclip]
SILENT = [open_clip_run, safetensors]


@torch.inference_mode()
@pytest.mark.parametrize("write", TELLING + SILENT)
def test_official_files_give_the_embeddings_of_openais_forward(
    write: Callable[[dict[str, Tensor], Path], Path],
    drawn_state: Draw,
    pictures: Pictures,
    tower_configs: dict[str, Path],
    tmp_path: Path,
) -> None:
    state = drawn_state("vit")
    wide = {name: value.double().numpy() for name, value in state.items()}
    images = pictures(32, 32)
    file = write(state, tmp_path)
    towers = create_tower(str(tower_configs["vit"]), file, True if write in SILENT else None).eval()
    assert towers.spec.quick_gelu
    assert file.name in towers.spec.origin
    wanted = np.stack([image_embedding(picture, wide) for picture in images])
    np.testing.assert_allclose(towers.encode_image(images), wanted, atol=2e-6)
    wanted = np.stack([cell_embeddings(picture, wide) for picture in images])
    np.testing.assert_allclose(towers.dense(images).permute(0, 2, 3, 1), wanted, atol=2e-6)
    ids = [[i for i in row if i] for row in towers.tokenize(SENTENCES).tolist()]
    wanted = np.stack([text_embedding(row, wide) for row in ids])
    np.testing.assert_allclose(towers.encode_text(SENTENCES), wanted, atol=2e-6)


@torch.inference_mode()
def test_the_other_activation_would_be_seen(
    drawn_state: Draw, pictures: Pictures, tower_configs: dict[str, Path], tmp_path: Path
) -> None:
    """What the test above compares is far enough apart to tell QuickGELU from GELU."""
    state = drawn_state("vit")
    wide = {name: value.double().numpy() for name, value in state.items()}
    towers = create_tower(str(tower_configs["vit"]), safetensors(state, tmp_path), quick_gelu=False).eval()
    images = pictures(32, 32)
    assert np.abs(towers.encode_image(images)[0].numpy() - image_embedding(images[0], wide)).max() > 1e-3
    ids = towers.tokenize(SENTENCES[:1]).tolist()[0]
    assert np.abs(towers.encode_text(SENTENCES[:1])[0].numpy() - text_embedding(ids, wide)).max() > 1e-3


@pytest.mark.parametrize("write", TELLING)
def test_an_activation_that_contradicts_the_file_is_refused(
    write: Callable[[dict[str, Tensor], Path], Path],
    drawn_state: Draw,
    tower_configs: dict[str, Path],
    tmp_path: Path,
) -> None:
    file = write(drawn_state("vit"), tmp_path)
    with pytest.raises(UsageError, match=rf"{file.name}: \w+ weights were trained with QuickGELU"):
        create_tower(str(tower_configs["vit"]), file, quick_gelu=False)


@pytest.mark.parametrize("write", SILENT)
def test_a_file_that_does_not_tell_its_activation_needs_to_be_told(
    write: Callable[[dict[str, Tensor], Path], Path],
    drawn_state: Draw,
    tower_configs: dict[str, Path],
    tmp_path: Path,
) -> None:
    file = write(drawn_state("vit"), tmp_path)
    with pytest.raises(UsageError, match="does not tell its activation; set quick_gelu: true if"):
        create_tower(str(tower_configs["vit"]), file)
    for chosen in (True, False):
        assert create_tower(str(tower_configs["vit"]), file, chosen).spec.quick_gelu is chosen


def test_the_resnets_file_loads_and_trains_on(
    drawn_state: Draw, pictures: Pictures, tower_configs: dict[str, Path], tmp_path: Path
) -> None:
    state = drawn_state("resnet")
    towers = create_tower(str(tower_configs["resnet"]), jit_archive(state, tmp_path))
    assert all(torch.equal(value, state[name]) for name, value in towers.model.state_dict().items())
    image, text = towers(pictures(64, 64), towers.tokenize(SENTENCES))
    (image * text).sum().backward()
    missing = [name for name, value in towers.model.named_parameters() if value.grad is None]
    assert missing == ["logit_scale"]


def damaged(state: dict[str, Tensor], folder: Path) -> Path:
    (folder / "a.pt").write_bytes(remoteclip(state, folder).read_bytes()[:5000])
    return folder / "a.pt"


def no_tensors(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save({"state_dict": {"epoch": 3}}, folder / "a.pt")
    return folder / "a.pt"


def other_towers(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save({k: v for k, v in state.items() if "resblocks.1" not in k}, folder / "RemoteCLIP-a.pt")
    return folder / "RemoteCLIP-a.pt"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (damaged, "cannot be read as CLIP weights"),
        (no_tensors, "holds no state dict of tensors"),
        (other_towers, r"not the weights of tiny-vit .*Missing key"),
        (
            lambda state, folder: folder / "none.pt",
            r"none\.pt: cannot be read as CLIP weights .*No such file",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named_in_one_line(
    write: Callable[[dict[str, Tensor], Path], Path],
    message: str,
    drawn_state: Draw,
    tower_configs: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        create_tower(str(tower_configs["vit"]), write(drawn_state("vit"), tmp_path))
    assert "\n" not in str(caught.value)


def test_random_towers_are_made_without_a_file(tower_configs: dict[str, Path]) -> None:
    towers = create_tower(str(tower_configs["vit"]))
    assert isinstance(towers, ClipTowers)
    assert (towers.name, towers.spec.origin, towers.spec.quick_gelu) == ("tiny-vit", "random", True)
    assert (towers.embedding_width, towers.image_size, towers.stride) == (24, 32, 8)
