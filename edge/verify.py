"""Verification of a bundle here: hashes, who vouches for it, and golden vectors on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge.bundle import Bundle, load_bundle
from edge.engines import create_image_engine
from edge.golden import GoldenCheck, check_image_engine, check_text_encoder, load_golden
from edge.text_encoder import TextEncoder
from firmware_cfg.bundles import DEFAULT_MANIFEST_SHA256


@dataclass(frozen=True, slots=True, eq=False)
class BundleReport:
    """What `verify_bundle` found.

    Attributes:
        bundle: the bundle; every file has the hash that its manifest states.
        signature: one sentence on who vouches for the manifest.
        pinned: whether it is the default bundle that firmware_cfg names.
        golden: one check per engine and image graph, and one per engine of the text graph.
    """

    bundle: Bundle
    signature: str
    pinned: bool
    golden: tuple[GoldenCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every engine reproduced every golden vector."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What an engine did not reproduce, a line each; empty when the bundle is good here."""
        return tuple(
            f"{check.engine} {check.precision}: {problem}"
            for check in self.golden
            for problem in check.problems
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return {
            "ok": self.ok,
            "bundle": str(self.bundle.path),
            "model": self.bundle.manifest.model,
            "manifest_sha256": self.bundle.manifest_sha256,
            "files": len(self.bundle.manifest.files),
            "signature": self.signature,
            "pinned": self.pinned,
            "golden": [asdict(check) for check in self.golden],
        }


def verify_bundle(
    path: str | Path, engines: Sequence[str] | None = None, threads: int | None = None
) -> BundleReport:
    """Verify hashes, say who vouches for the bundle, and run every graph's golden vectors on every engine.

    Args:
        path: see `load_bundle`.
        engines: names of engines; default: only openvino, the one that every install has.
        threads: CPU threads; default: the runtime's choice.

    Raises:
        BundleError: what `load_bundle` raises, or golden.npz is damaged.
        EngineError, MissingExtra: an engine cannot run a graph at all.
    """
    bundle = load_bundle(path)
    golden = load_golden(bundle)
    checks = []
    for name in ("openvino",) if engines is None else engines:
        for precision in bundle.manifest.variants:
            with closing(create_image_engine(bundle, name, precision, golden.image_size, threads)) as engine:
                checks.append(check_image_engine(engine, golden))
        # A cache of its own, empty: what another run has kept proves nothing about this engine.
        with (
            TemporaryDirectory() as cache,
            closing(TextEncoder(bundle, name, threads, cache=Path(cache))) as encoder,
        ):
            checks.append(check_text_encoder(name, encoder, golden))
    pinned = bundle.manifest_sha256 == DEFAULT_MANIFEST_SHA256
    return BundleReport(bundle, _signature_state(bundle, pinned), pinned, tuple(checks))


def _signature_state(bundle: Bundle, pinned: bool) -> str:
    if bundle.signed:
        return "has a signature, which this release cannot check"
    if pinned:
        return "unsigned; its manifest hash matches the one pinned in firmware_cfg"
    return "unsigned; its manifest hash is not the one pinned in firmware_cfg"
