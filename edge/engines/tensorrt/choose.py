"""Building on the device: every engine is gated on the golden vectors, the fastest that passes is kept."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bundle.golden import Golden
from edge.engine_cache import EngineCache, EngineKey, Environment, Record, choice_key, now
from edge.engines.factory import auto_precisions
from edge.engines.gate import golden_at
from edge.engines.latency import time_engines
from edge.engines.tensorrt.build import BuildOptions, build_plan
from edge.engines.tensorrt.cuda import load_driver, read_gpu
from edge.engines.tensorrt.engine import TensorRtImageEngine, load_engine
from edge.engines.tensorrt.errors import one_line
from edge.engines.tensorrt.judge import golden_problems
from edge.engines.tensorrt.library import Library, load_library
from edge.engines.tensorrt.progress import ShowProgress, logged_progress
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle.load import Bundle

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One precision at one size.

    Attributes:
        precision: "fp32", "fp16" or "int8".
        record: what is known of its engine; None where none could be built.
        problem: why it cannot be flown; empty if it can.
        built: whether it was built now, not found.
    """

    precision: str
    record: Record | None
    problem: str
    built: bool


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """All candidates of one (width, height), and the precision that `auto` now stands for."""

    image_size: tuple[int, int]
    candidates: tuple[Candidate, ...]
    chosen: str


def environment(library: Library | None = None) -> Environment:
    """Where engines would be built and run here. Raises EngineError, MissingExtra."""
    library = library or load_library()
    gpu = read_gpu(load_driver())
    return Environment(
        library=library.name,
        library_version=library.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        multiprocessors=gpu.multiprocessors,
        driver=gpu.driver,
    )


class EngineBuilder:
    """Builds, finds and loads one bundle's engines on this device's GPU."""

    def __init__(
        self,
        bundle: Bundle,
        workspace_mib: int | None = None,
        *,
        cache: EngineCache | None = None,
        show: ShowProgress = logged_progress,
        rebuild: bool = False,
    ) -> None:
        """Look at TensorRT and the GPU.

        Args:
            bundle: the verified bundle.
            workspace_mib: see BuildOptions.
            cache: where engines are kept; default: this user's cache.
            show: how a build's progress is shown.
            rebuild: build anew what is there.

        Raises:
            EngineError, MissingExtra: TensorRT or the GPU cannot be used.
        """
        self._bundle = bundle
        self._workspace_mib = workspace_mib
        self._cache = cache or EngineCache()
        self._show = show
        self._rebuild = rebuild
        self._library = load_library()
        self._environment = environment(self._library)
        self._golden: dict[tuple[int, int], Golden] = {}

    def load(self, precision: str, image_size: tuple[int, int]) -> TensorRtImageEngine:
        """An engine that reproduces the golden vectors, found or built; of "auto" the fastest one.

        Raises:
            EngineError: none can be built, or none passes. MissingExtra: see above.
        """
        if precision == "auto":
            record = self._cache.record(choice_key(self._key(precision, image_size)))
            kept = record.chosen if record is not None and self._may_use(record) else None
            precision = kept if kept in self._precisions() else self.choose(image_size).chosen
        engine, candidate = self._obtain(precision, image_size)
        if engine is None or candidate.problem:
            if engine is not None:
                engine.close()
            raise EngineError(candidate.problem)
        return engine

    def choose(self, image_size: tuple[int, int], precisions: tuple[str, ...] = ()) -> Choice:
        """Build the candidates for one size, gate them, time those that pass in turn, and keep the choice.

        Args:
            image_size: (width, height) of the tiles.
            precisions: what to try; default: int8 and fp16 but for failed gates, or fp32 without either.

        Raises:
            EngineError: none can be flown. It says why of each.
        """
        candidates: list[Candidate] = []
        with ExitStack() as stack:
            engines: list[tuple[int, TensorRtImageEngine]] = []
            for precision in precisions or self._precisions():
                engine, candidate = self._obtain(precision, image_size)
                candidates.append(candidate)
                if engine is not None:
                    stack.enter_context(closing(engine))
                    if not candidate.problem:
                        engines.append((len(candidates) - 1, engine))
            if not engines:
                raise EngineError("; ".join(candidate.problem for candidate in candidates))
            golden = self._golden_at(image_size)
            times = time_engines([e for _, e in engines], golden.image[:1], golden.prompts, golden.bias)
        for (index, _), latency in zip(engines, times, strict=True):
            known = candidates[index]
            assert known.record is not None  # it has an engine
            record = self._cache.keep(known.record.model_copy(update={"latency": latency}))
            candidates[index] = Candidate(known.precision, record, "", known.built)
        fastest = min(range(len(engines)), key=lambda place: times[place].p50)
        chosen = candidates[engines[fastest][0]].precision
        if not precisions:
            facts = {
                "key": choice_key(self._key(chosen, image_size)),
                "model": self._bundle.manifest.model,
                "created_at": now(),
                "workspace_mib": self._workspace_mib,
                "chosen": chosen,
            }
            self._cache.keep(Record.model_validate(facts))
        return Choice(image_size, tuple(candidates), chosen)

    def _may_use(self, record: Record) -> bool:
        return not self._rebuild and record.keeps_within(self._workspace_mib)

    def _precisions(self) -> tuple[str, ...]:
        return auto_precisions(self._bundle, "tensorrt")

    def _obtain(
        self, precision: str, image_size: tuple[int, int]
    ) -> tuple[TensorRtImageEngine | None, Candidate]:
        """The engine, found or built and gated; None where there is none, and in the candidate why."""
        key = self._key(precision, image_size)
        label = f"{self._bundle.manifest.model} {precision} {image_size[0]}x{image_size[1]}"
        cached = self._cache.find(key)
        try:
            if cached is not None and self._may_use(cached.record):
                engine = load_engine(self._library, cached.data, precision, image_size, label)
                return engine, Candidate(precision, cached.record, _verdict(label, cached.record), False)
            engine, record = self._build(key, label)
        except EngineError as error:
            return None, Candidate(precision, None, one_line(error), False)
        return engine, Candidate(precision, record, _verdict(label, record), True)

    def _build(self, key: EngineKey, label: str) -> tuple[TensorRtImageEngine, Record]:
        variants = {str(name): file for name, file in self._bundle.manifest.variants.items()}
        if key.precision not in variants:
            choices = ", ".join(("auto", *variants))
            raise EngineError(
                f"{self._bundle.path}: no {key.precision} image graph in this bundle (choose {choices})"
            )
        options = BuildOptions(
            key.image_size, key.max_batch, key.max_prompts, workspace_mib=self._workspace_mib
        )
        with self._show(label) as on_progress:
            built = build_plan(
                self._library,
                self._bundle.file(variants[key.precision]),
                key.precision,
                options,
                timing_cache=self._cache.timing_cache(self._environment),
                on_progress=on_progress,
            )
        engine = load_engine(self._library, built.data, key.precision, key.image_size, label)
        try:
            problems = golden_problems(engine, self._golden_at(key.image_size), key.max_batch)
        except BaseException:
            engine.close()
            raise
        record = Record(
            key=key,
            model=self._bundle.manifest.model,
            created_at=now(),
            typing=built.typing,
            build_seconds=round(built.seconds, 1),
            workspace_mib=self._workspace_mib,
            problems=problems,
        )
        _log.info("%s: built in %.0f s (%s typing)", label, built.seconds, built.typing)
        return engine, self._cache.keep(record, built.data)

    def _golden_at(self, image_size: tuple[int, int]) -> Golden:
        if image_size not in self._golden:
            self._golden[image_size] = golden_at(self._bundle, image_size)
        return self._golden[image_size]

    def _key(self, precision: str, image_size: tuple[int, int]) -> EngineKey:
        options = BuildOptions(image_size)
        return EngineKey(
            bundle=self._bundle.manifest_sha256,
            precision=precision,
            image_size=image_size,
            max_batch=options.max_batch,
            max_prompts=options.max_prompts,
            environment=self._environment,
        )


def _verdict(label: str, record: Record) -> str:
    if not record.problems:
        return ""
    return f"{label}: the engine does not reproduce the golden vectors: {'; '.join(record.problems)}"
