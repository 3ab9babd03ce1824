"""Make torchvision importable beside a CPU build of torch; import this before timm or open_clip.

PyPI's torchvision wheel is built against CUDA torch. Beside a CPU torch its compiled operators do not load,
and its import then fails because it registers shape functions for operators that nobody declared. Declaring
the two schemas is enough: this project calls neither operator.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _operators_load() -> bool:
    """Whether torchvision's own compiled operators fit this torch; declaring them twice would be an error."""
    spec = importlib.util.find_spec("torchvision")
    compiled = sorted(Path(spec.origin).parent.glob("_C*.so")) if spec and spec.origin else []
    try:
        for file in compiled:
            torch.ops.load_library(file)
    except OSError:
        return False
    return bool(compiled)


# Kept at module level: the declarations live as long as the library object does.
_library = torch.library.Library("torchvision", "FRAGMENT")
if not _operators_load():
    for _schema in _SCHEMAS:
        _library.define(_schema)
