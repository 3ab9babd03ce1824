"""The gate's look by a list with more rows than the graph takes."""

from __future__ import annotations

from pathlib import Path

import cv2

from compile.gate.look import Looker
from edge.bundle.load import load_bundle
from edge.frames import RgbImage
from edge.runtime import BundleRuntime
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.prompt_list import GRAPH_ROWS, PromptList


def test_a_list_longer_than_the_graph_takes_is_looked_for(tiny_probe: Path) -> None:
    words = ("an airplane", "a ship")
    prompts = [{"id": f"p{n}", "text": words[n % 2]} for n in range(GRAPH_ROWS + 4)]
    runtime = BundleRuntime(load_bundle(default_bundle_path()))
    picture = cv2.cvtColor(cv2.imread(str(tiny_probe / "images" / "apron_1.jpg")), cv2.COLOR_BGR2RGB)
    with Looker(runtime, runtime.calibration, PromptList(prompts=prompts)) as looker:
        found = looker.look(RgbImage(picture))
    assert set(found.sighting.counts) == {f"p{n}" for n in range(GRAPH_ROWS + 4)}
    assert sum(found.sighting.counts.values()) > 0
    assert len(found.owner) == len(found.score) > 0
