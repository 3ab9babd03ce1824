"""How near the engine comes to what the machine can do."""

from __future__ import annotations

from compile.bench.contenders.ceilings import COPY, FLOAT_PRODUCT, INT8_PRODUCT, MOVED, OPERATIONS
from compile.bench.measured import Measured
from compile.bench.plan import Plan
from compile.bench.roofline import GraphWork, graph_work
from compile.bench.spec import FRAME
from edge.bundle.load import load_bundle
from edge.letterbox import best_image_size
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import GRAPH_ROWS, PromptList, load_prompt_list

PRODUCTS = {"fp32": FLOAT_PRODUCT, "int8": INT8_PRODUCT}


def add_rooflines(plan: Plan, measured: Measured) -> None:
    """Work out each precision's roofline where its engine and the ceilings were measured.

    The product of its precision bounds the whole graph, although its lookup is float32 in int8 graphs, too.
    """
    copy = measured.find("ceiling", "", COPY)
    if copy is None:
        return
    bytes_per_s = MOVED / (copy.frame.p50_ms / 1e3)
    for precision in plan.precisions:
        engine = measured.find("engine", f"openvino {precision}", FRAME)
        product = measured.find("ceiling", "", PRODUCTS.get(precision, FLOAT_PRODUCT))
        if engine is None or product is None:
            continue
        try:
            work = _work(plan, measured.clips[engine.clip], precision)
        except RemoteclipError as error:
            measured.note(f"roofline of {precision}: {error}")
            continue
        operations_per_s = OPERATIONS / (product.frame.p50_ms / 1e3)
        least_ms = work.least_seconds(operations_per_s, bytes_per_s) * 1e3
        measured.rooflines[precision] = {
            **work.as_json(),
            "ceiling_gops": round(operations_per_s / 1e9, 1),
            "copy_gb_per_s": round(bytes_per_s / 1e9, 2),
            "least_ms": round(least_ms, 3),
            "measured_ms": engine.frame.p50_ms,
            "fraction": round(least_ms / engine.frame.p50_ms, 3),
        }


def _work(plan: Plan, clip_size: str, precision: str) -> GraphWork:
    bundle = load_bundle(plan.bundle)
    wanted = load_prompt_list(plan.prompts).model
    width, height = (int(side) for side in clip_size.split("x"))
    size = plan.image_size or wanted.image_size or best_image_size(width, height, bundle.manifest.image_sizes)
    rows = graph_rows(wanted)
    variants: dict[str, str] = {str(name): file for name, file in bundle.manifest.variants.items()}
    return graph_work(bundle.path / variants[precision], size, rows)


def graph_rows(wanted: PromptList) -> int:
    """How many rows the graph gets of a list; of one too long, object rows alone (PromptBank.spread)."""
    rows = sum(prompt.rows for prompt in wanted.prompts) + len(wanted.background)
    objects = sum(prompt.rows for prompt in wanted.prompts if prompt.kind == "object")
    return rows if rows <= GRAPH_ROWS else max(1, min(objects, GRAPH_ROWS))
