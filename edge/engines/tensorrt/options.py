"""What an engine is built for, and the optimization profile that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is built for.

    Attributes:
        image_size: (width, height) in pixels of its tiles.
        max_batch: most tiles in one run.
        max_prompts: most prompt rows; the lookup's own limit.
        typical_prompts: the number of rows that it is tuned for.
        workspace_mib: most GPU memory for scratch, in MiB; None: TensorRT's default, all there is.
        targets: compute capabilities such as "sm86" to build for without their GPU; TensorRT-RTX only.
    """

    image_size: tuple[int, int]
    max_batch: int = 4
    max_prompts: int = 256
    typical_prompts: int = 16
    workspace_mib: int | None = None
    targets: tuple[str, ...] = ()


def profile_shapes(
    name: str, shape: Sequence[int], options: BuildOptions
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """(smallest, tuned, largest) shape of an input for what `options` asks; -1 in `shape` is free.

    None where the graph's own fixed sides contradict it. A fixed batch or prompt count is taken as it is.
    """
    width, height = options.image_size
    free = {
        "image": ((1, 1, options.max_batch), (height,) * 3, (width,) * 3),
        "prompts": ((1, options.typical_prompts, options.max_prompts),),
        "bias": ((1, options.typical_prompts, options.max_prompts),),
    }[name]
    columns = []
    for index, side in enumerate(shape):
        wanted = free[index] if index < len(free) else None
        if side == -1:
            if wanted is None:
                return None
            columns.append(wanted)
        elif wanted is None or index == 0 or side in wanted:
            columns.append((side,) * 3)
        else:
            return None
    smallest, tuned, largest = (tuple(column[which] for column in columns) for which in range(3))
    return smallest, tuned, largest
