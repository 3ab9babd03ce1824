from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from firmware_cfg.errors import UsageError
from training.evaluation.protocols import PROTOCOLS, class_embeddings, class_sentences, prompt_protocol


def test_the_published_protocols_are_pinned() -> None:
    # Written out: a figure under other words is another figure.
    assert PROTOCOLS["remoteclip"].sentences("ucm_captions", "denseresidential") == (
        "a satellite photo of dense residential.",
    )
    assert PROTOCOLS["skyscript"].sentences("resisc12", "industrial_area") == (
        "a satellite photo of industrial area.",
        "a satellite image of industrial area",
    )
    assert PROTOCOLS["default"].sentences("resisc12", "residential") == (
        "a satellite photo of residential area.",
        "an aerial photo of a residential area",
        "a residential area",
    )


@pytest.mark.parametrize("name", ["remoteclip", "skyscript"])
def test_eurosat_is_asked_for_in_openais_words(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.sentences("eurosat", "Residential")[0] == (
        "a satellite photo of residential buildings or homes or apartments."
    )
    assert protocol.sentences("eurosat", "SeaLake")[0] == "a satellite photo of lake or sea."


def test_an_unknown_protocol_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'clip' \(choose one of default, remoteclip, skyscript\)"):
        prompt_protocol("clip")


def test_classes_that_read_alike_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mine: classes tennis_court and TennisCourt both read"):
        class_sentences(PROTOCOLS["remoteclip"], "mine", ["river", "tennis_court", "TennisCourt"])


def test_a_class_is_the_unit_mean_of_its_sentences() -> None:
    class Lengths:
        def text_embeddings(self, texts: Sequence[str], description: str) -> np.ndarray:
            angle = np.array([float(len(text)) for text in texts], np.float32)
            return np.stack((np.cos(angle), np.sin(angle)), axis=1)

    found = class_embeddings(Lengths(), PROTOCOLS["skyscript"], "mine", ["river", "a lake"])
    for row, name in zip(found, ("river", "a lake"), strict=True):
        angles = [len(f"a satellite photo of {name}."), len(f"a satellite image of {name}")]
        mean = np.mean([np.exp(1j * angle) for angle in angles])
        np.testing.assert_allclose(row, [(mean / abs(mean)).real, (mean / abs(mean)).imag], atol=1e-5)
