from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compile.gate.measure import gate_bundle
from compile.gate.probe import Probe, load_probe
from compile.gate.result import GateResult, regressions_of
from edge.bundle.load import load_bundle
from edge.bundle.manifest import Precision
from firmware_cfg.errors import BundleError, UsageError
from tests.compile.gate.conftest import damage, noise
from training.checkpoint import AnyCheckpoint

Results = dict[Precision, GateResult]


@pytest.fixture(scope="module")
def probe(small_probe: Path) -> Probe:
    return load_probe(small_probe)


@pytest.fixture(scope="module")
def results(damaged: Path, shipped_checkpoint: AnyCheckpoint, probe: Probe) -> Results:
    return gate_bundle(load_bundle(damaged), shipped_checkpoint, probe)


def test_the_shipped_graph_passes_beside_its_checkpoint(results: Results) -> None:
    gate = results["fp32"].record()
    assert gate.problems == ()
    assert gate.passed
    assert gate.cosine_min > 0.9999
    assert gate.place_cosine_mean is not None
    assert gate.place_cosine_mean > 0.999


def test_the_reference_sees_what_is_in_the_pictures(results: Results) -> None:
    """A set on which the model finds nothing would let everything pass."""
    found = results["fp32"]
    assert found.truth is not None
    assert found.counted_reference is not None
    asked = dict(
        zip(found.names, zip(found.truth.sum(0), found.counted_reference.sum(0), strict=True), strict=True)
    )
    for name in ("airplane", "baseball diamond", "ship", "storage tank"):
        true, counted = asked[name]
        assert counted == true > 0
    assert found.counted_reference.sum() > 0.7 * found.truth.sum()
    assert found.places > 50
    gate = found.record()
    assert gate.mean_recall_reference is not None
    assert gate.mean_recall_reference > 0.7


def test_the_graph_tells_the_blind_pairs_apart_that_its_checkpoint_does(results: Results) -> None:
    gate = results["fp32"].record()
    assert gate.blind_pairs > 0
    assert gate.pair_accuracy_reference is not None
    assert gate.pair_accuracy == gate.pair_accuracy_reference


def test_noise_in_the_weights_is_refused(results: Results) -> None:
    gate = results["fp16"].record()
    assert not gate.passed
    assert any("mean cosine of images" in problem for problem in gate.problems)


def test_a_variant_that_no_longer_tells_blind_pairs_apart_is_refused_for_that(
    tmp_path: Path, shipped_checkpoint: AnyCheckpoint, tiny_probe: Path
) -> None:
    bundle = load_bundle(damage(tmp_path / "bundle", int8=noise(0.5)))
    bare = replace(load_probe(tiny_probe), task=None)
    gate = gate_bundle(bundle, shipped_checkpoint, bare, precisions=["int8"])["int8"].record()
    assert not gate.passed
    assert any(text.startswith("pair accuracy fell from 100.0% to ") for text in gate.problems), gate


def test_what_a_cpu_cannot_tell_of_float16_is_said(results: Results) -> None:
    said = {name: " ".join(result.record().remarks) for name, result in results.items()}
    assert "openvino computes float16 graphs in float32 here" in said["fp16"]
    assert "float16" not in said["fp32"] + said["int8"]


def test_a_wrong_fusion_is_refused(results: Results) -> None:
    gate = results["int8"].record()
    assert not gate.passed
    assert any("mean cosine of images" in problem for problem in gate.problems)
    assert any("counting error rose" in problem for problem in gate.problems)


def test_a_failed_gate_stops_the_bundle_unless_it_is_allowed_on_record(results: Results) -> None:
    with pytest.raises(BundleError, match=r"accuracy was lost: fp16 on openvino: .*--allow-regression"):
        regressions_of(results, allow_regression=False)
    allowed = regressions_of(results, allow_regression=True)
    assert {sentence.split()[0] for sentence in allowed} == {"fp16", "int8"}
    assert regressions_of({"fp32": results["fp32"]}, allow_regression=False) == ()


def test_sentences_alone_and_pictures_alone_are_measured_too(
    damaged: Path, shipped_checkpoint: AnyCheckpoint, probe: Probe
) -> None:
    bundle = load_bundle(damaged)
    few = replace(probe, task=None, paths=probe.paths[:3])
    few = replace(few, sentences={path: few.sentences[path] for path in few.paths[:2]})
    gate = gate_bundle(bundle, shipped_checkpoint, few, precisions=["fp32"])["fp32"].record()
    assert (gate.images, gate.counts, gate.count_mae, gate.captioned) == (3, 0, None, 2)
    assert gate.mean_recall is not None
    bare = gate_bundle(bundle, shipped_checkpoint, replace(few, sentences={}), precisions=["int8"])["int8"]
    assert bare.hits is None
    assert not bare.record().passed


def test_another_checkpoint_or_a_precision_that_is_not_there_is_refused(
    damaged: Path, shipped_checkpoint: AnyCheckpoint, probe: Probe
) -> None:
    bundle = load_bundle(damaged)
    with pytest.raises(UsageError, match=r"was made of checkpoint .*name the checkpoint"):
        gate_bundle(bundle, replace(shipped_checkpoint, sha256="0" * 64), probe)
    with pytest.raises(UsageError, match=r"no int4 in this bundle \(it has fp32, fp16, int8\)"):
        gate_bundle(bundle, shipped_checkpoint, probe, precisions=["int4"])


def test_figures_follow_from_what_was_kept(results: Results) -> None:
    found = results["int8"]
    gate = found.record()
    assert found.counted is not None
    assert found.truth is not None
    assert found.hits is not None
    errors = [abs(int(a) - int(b)) for a, b in zip(found.counted.flat, found.truth.flat, strict=True)]
    assert gate.count_mae == pytest.approx(sum(errors) / len(errors))
    assert gate.mean_recall == pytest.approx(sum(found.hits.sum(axis=0)) / found.hits.size)
    assert found.confusion.sum() == len(found.place_cosine) <= found.places
