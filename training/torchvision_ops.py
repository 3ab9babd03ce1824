"""Make torchvision importable beside a CPU build of torch; import this before timm or open_clip.

PyPI's torchvision wheel is built against CUDA torch. Beside a CPU torch its compiled operators do not load,
and its import then fails because it registers shape functions for operators that nobody declared. Declaring
the two schemas is enough: this project calls neither operator.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# Kept at module level: the declarations live as long as the library object does.
_library = torch.library.Library("torchvision", "FRAGMENT")
for _name, _schema in _SCHEMAS.items():
    if not hasattr(torch.ops.torchvision, _name):
        _library.define(_schema)
