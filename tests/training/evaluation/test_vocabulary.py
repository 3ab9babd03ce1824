from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.names import is_identifier
from training.evaluation.intervals import bootstrap_mean
from training.evaluation.vocabulary import object_list, prompt_id, words


@pytest.mark.parametrize(
    ("dataset", "name", "expected"),
    [
        ("vhr10", "baseball_diamond", "baseball diamond"),
        ("rsicd", "BaseballField", "baseball field"),
        ("eurosat", "SeaLake", "lake or sea"),
        ("hit_uav", "OtherVehicle", "large vehicle"),
        ("another", "OtherVehicle", "other vehicle"),
        ("semantic_drone", "paved-area", "paved area"),
    ],
)
def test_class_names_become_words(dataset: str, name: str, expected: str) -> None:
    assert words(dataset, name) == expected


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=40))
def test_class_names_become_prompt_ids(name: str) -> None:
    assert is_identifier(prompt_id(name))


def test_a_list_holds_every_class_with_its_threshold() -> None:
    prompts = object_list("vhr10", ["ship", "storage_tank"], {"ship": 0.2, "storage_tank": 0.4}).prompts
    assert [(p.id, p.threshold) for p in prompts] == [("ship", 0.2), ("storage_tank", 0.4)]
    assert "a storage tank seen from above" in prompts[1].text
    assert {p.threshold for p in object_list("vhr10", ["ship"], 0.02).prompts} == {0.02}


def test_the_interval_of_a_mean_covers_it_and_narrows_with_more_images() -> None:
    values = [0.0, 1.0] * 20
    low, high = bootstrap_mean(values)
    assert low < 0.5 < high
    assert (low, high) == bootstrap_mean(values)
    wider = bootstrap_mean([0.0, 1.0] * 3)
    assert wider[1] - wider[0] > high - low
    assert bootstrap_mean([0.25]) == (0.25, 0.25)
