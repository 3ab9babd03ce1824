"""The buffers of an engine: pinned on the host, plain on the device, taken once for its largest shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


class Port:
    """One input or output. Everything but `view` must be called in the CUDA thread."""

    def __init__(self, driver: Any, largest: Shape, dtype: np.dtype[Any]) -> None:
        """Take memory for `largest`. Raises pycuda's errors."""
        self._driver = driver
        self._dtype = dtype
        self._host: Any = driver.pagelocked_empty(math.prod(largest), dtype)
        self._used = self._host
        try:
            self._device: Any = driver.mem_alloc(max(self._host.nbytes, 1))
        except driver.Error:
            self._free_host()
            raise

    @property
    def address(self) -> int:
        """Where TensorRT reads or writes."""
        return int(self._device)

    def view(self, shape: Shape) -> NDArray[Any]:
        """The pinned memory as an array of this shape, at most the largest; copies move this part only."""
        self._used = self._host[: math.prod(shape)]
        used: NDArray[Any] = self._used.reshape(shape)
        return used

    def to_device(self, stream: Any) -> None:
        """Enqueue the copy of the part last viewed."""
        self._driver.memcpy_htod_async(self._device, self._used, stream)

    def to_host(self, stream: Any) -> None:
        """Enqueue the copy of the part last viewed."""
        self._driver.memcpy_dtoh_async(self._used, self._device, stream)

    def free(self) -> None:
        """Give both sides back."""
        self._device.free()
        self._free_host()

    def _free_host(self) -> None:
        pinned = self._host.base
        del self._used, self._host
        pinned.free()
