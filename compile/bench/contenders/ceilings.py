"""The sizes of what the ceilings are measured with; apart from what measures them, which needs OpenVINO."""

from __future__ import annotations

SIDE = 1536
OPERATIONS = 2 * SIDE**3
"""Of one product: a multiplication and an addition each."""
COPIED = 128 << 20
MOVED = 2 * COPIED
"""Bytes of one copy: read and written. Far more than any cache holds."""

FLOAT_PRODUCT = "float32 product"
INT8_PRODUCT = "int8 product"
COPY = "memory copy"
TASKS = (FLOAT_PRODUCT, INT8_PRODUCT, COPY)
