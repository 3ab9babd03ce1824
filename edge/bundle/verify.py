"""Verification of a bundle here: hashes, who vouches for it, and golden vectors on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge.bundle.archive import bundle_folder
from edge.bundle.golden import Golden, GoldenCheck, check_image_engine, check_text_encoder, load_golden
from edge.bundle.keys import key_id, time_text
from edge.bundle.load import Bundle, load_bundle
from edge.engines import ENGINE_NAMES, GPU_ENGINE_NAMES, create_image_engine
from edge.engines.factory import auto_precisions, text_engine_name
from edge.pipeline import Pipeline
from edge.prompts.text_encoder import TextEncoder
from firmware_cfg.bundles import DEFAULT_MANIFEST_SHA256
from firmware_cfg.device import Engine
from firmware_cfg.errors import ConfigErrors, EngineError
from firmware_cfg.prompt_list import LoadedPromptList


@dataclass(frozen=True, slots=True, eq=False)
class BundleReport:
    """What `verify_bundle` found.

    Attributes:
        name: the folder or archive that was verified.
        bundle: the bundle; every file has the hash that its manifest states. An archive's files are gone.
        signature: one sentence on who vouches for the manifest.
        pinned: whether it is the default bundle that firmware_cfg names.
        golden: one check per engine and image graph that runs there, and one per engine of the text graph.
        refusal: why the signature is not one of the keys that were named; empty if it is, or none was named.
    """

    name: str
    bundle: Bundle
    signature: str
    pinned: bool
    golden: tuple[GoldenCheck, ...]
    refusal: str = ""

    @property
    def ok(self) -> bool:
        """Whether every engine reproduced every golden vector, and a key that was named signed the bundle."""
        return not self.problems

    @property
    def regressions(self) -> tuple[str, ...]:
        """What was lost and let pass when the bundle was made, a sentence each; no fault of this machine."""
        return self.bundle.manifest.regressions

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a line each; empty when the bundle is good here."""
        off = tuple(
            f"{check.engine} {check.precision}: {problem}"
            for check in self.golden
            for problem in check.problems
        )
        return (f"{self.name}: {self.refusal}", *off) if self.refusal else off

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return {
            "ok": self.ok,
            "bundle": self.name,
            "model": self.bundle.manifest.model,
            "manifest_sha256": self.bundle.manifest_sha256,
            "files": len(self.bundle.manifest.files),
            "signature": self.signature,
            "signed_by": self._signed_by(),
            "pinned": self.pinned,
            "rectified": self.bundle.manifest.rectified,
            "golden": [asdict(check) for check in self.golden],
            "problems": list(self.problems),
            "regressions": list(self.regressions),
        }

    def _signed_by(self) -> dict[str, Any] | None:
        voucher = self.bundle.voucher
        if voucher.signature is None:
            return None
        return {
            "key_id": key_id(voucher.signature.key),
            "name": voucher.signature.name,
            "signed_at": time_text(voucher.signature.signed),
            "expires_at": None if voucher.ends is None else time_text(voucher.ends),
            "trusted": voucher.trusted is not None,
        }


def verify_bundle(
    path: str | Path,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    *,
    trusted_keys: Sequence[Path] = (),
) -> BundleReport:
    """Verify hashes, say who vouches for the bundle, and run the golden vectors on every engine.

    Engines on the processor run every graph. Those on the GPU run what "auto" stands for there, at the size
    of the golden vectors; the size that flies is judged where its engine is built.

    Args:
        path: see `load_bundle`; or an archive.
        engines: names of engines; default: only openvino, the one that every install has.
        threads: CPU threads; default: the runtime's choice.
        trusted_keys: files of public keys; where there are any, one of them must have signed the bundle.

    Raises:
        BundleError: what `load_bundle` raises, or golden.npz is damaged.
        ConfigError: a key file cannot be read.
        EngineError: there is no such engine. MissingExtra: its runtime is not installed.
    """
    with bundle_folder(path) as folder:
        bundle = load_bundle(folder, trusted_keys=trusted_keys)
        report = verify_loaded(bundle, engines, threads)
    name = report.name if folder == path else str(path)
    return replace(report, name=name, refusal=bundle.voucher.refusal if trusted_keys else "")


def verify_loaded(
    bundle: Bundle,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> BundleReport:
    """`verify_bundle` for a bundle whose hashes `load_bundle` has just verified: runs the golden vectors.

    Of its image graphs only the one of `precision`, where that is given; "auto" is what flies on the engine.
    """
    golden = load_golden(bundle)
    names = ("openvino",) if engines is None else tuple(engines)
    if strangers := [name for name in names if name not in (*ENGINE_NAMES, *GPU_ENGINE_NAMES)]:
        choices = ", ".join((*ENGINE_NAMES, *GPU_ENGINE_NAMES))
        raise EngineError(f"there is no engine {strangers[0]!r} (choose one of {choices})")
    checks: list[GoldenCheck] = []
    for name in names:
        checks += _check_images(bundle, golden, name, threads, precision)
        text = text_engine_name(name)
        if (text, "text") not in [(check.engine, check.precision) for check in checks]:
            checks.append(_check_text(bundle, golden, text, threads))
    pinned = bundle.manifest_sha256 == DEFAULT_MANIFEST_SHA256
    return BundleReport(str(bundle.path), bundle, _who_vouches(bundle, pinned), pinned, tuple(checks))


def self_test(bundle: Bundle, engine: Engine, prompts: Sequence[LoadedPromptList] = ()) -> tuple[str, ...]:
    """What keeps a bundle from flying on this device, a line each: wrong numbers, or prompts that do not fit.

    Args:
        bundle: the verified bundle.
        engine: a device file's: its engine runs the golden vectors, in the variant that would fly.
        prompts: the lists that the bundle's text tower must be able to encode.

    Raises:
        BundleError: golden.npz is damaged. EngineError: there is no such engine. MissingExtra: not installed.
    """
    report = verify_loaded(bundle, (engine.name,), engine.threads, engine.precision)
    if report.problems:
        return report.problems
    problems: list[str] = []
    for each in prompts:
        try:
            Pipeline(bundle, each, engine_name=engine.name, threads=engine.threads).close()
        except (ConfigErrors, EngineError) as error:
            problems += str(error).splitlines()
    return tuple(problems)


def _check_images(
    bundle: Bundle, golden: Golden, name: str, threads: int | None, precision: str | None
) -> list[GoldenCheck]:
    """One check per variant that is run on this engine. One that cannot run is a problem of that variant."""
    precisions: Sequence[str] = [str(variant) for variant in bundle.manifest.variants]
    if precision is not None:
        precisions = [precision]
    elif name in GPU_ENGINE_NAMES:
        try:
            precisions = auto_precisions(bundle, name)
        except EngineError as error:
            return [_cannot_run(name, "auto", error)]
    checks = []
    for variant in precisions:
        try:
            with closing(create_image_engine(bundle, name, variant, golden.image_size, threads)) as engine:
                checks.append(check_image_engine(engine, golden))
        except EngineError as error:
            checks.append(_cannot_run(name, variant, error))
    return checks


def _check_text(bundle: Bundle, golden: Golden, name: str, threads: int | None) -> GoldenCheck:
    # A cache of its own, empty: what another run has kept proves nothing about this engine.
    with (
        TemporaryDirectory() as cache,
        closing(TextEncoder(bundle, name, threads, cache=Path(cache))) as encoder,
    ):
        try:
            return check_text_encoder(name, encoder, golden)
        except EngineError as error:
            return _cannot_run(name, "text", error)


def _cannot_run(name: str, precision: str, error: EngineError) -> GoldenCheck:
    return GoldenCheck(name, precision, {}, 0, 0, (str(error),))


def _who_vouches(bundle: Bundle, pinned: bool) -> str:
    sentence = bundle.voucher.sentence
    if pinned:
        return f"{sentence}; its manifest hash matches the one pinned in firmware_cfg"
    if bundle.voucher.signature is None:
        return f"{sentence}; its manifest hash is not the one pinned in firmware_cfg"
    return sentence
