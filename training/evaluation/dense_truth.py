"""Sets of masks as `eval dense` asks for them: one class a pixel, in the order of a prompt list."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import UsageError
from firmware_cfg.names import suggest
from training.errors import DataError
from training.evaluation.vocabulary import prompt_id
from training.readers import detect_format
from training.readers.files import annotation_folder, image_files, split_folders
from training.readers.index_masks import class_table, read_indices
from training.readers.masks import colours, packed, read_mask
from training.readers.pictures import image_size
from training.readers.vocabulary import OPEN_CLASSES

Classes = NDArray[np.int16]

FORMS = ("colour_masks", "index_masks")
OPEN = frozenset({*OPEN_CLASSES, "unlabeled", "unlabelled", "void", "conflicting"})
"""Class names of pixels that the annotators left open: they are never asked about."""
FOREGROUND = "foreground"
"""The one class of masks without a table, which are binary."""
UNASKED = -1
_BINARY = ({0, 255}, {0, 1})
_ASPECT = 0.01  # by how much a mask of another resolution may differ in shape from its image


@dataclass(frozen=True, slots=True)
class MaskTable:
    """What the values of a set's masks mean.

    Attributes:
        file: where that is written; None of binary masks.
        coloured: values are colours, 0xRRGGBB; else class numbers.
        names: class name by value; 0 of binary masks is no class and not in it.
    """

    file: Path | None
    coloured: bool
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class DenseTask:
    """A split's images with their masks, and which class number every mask value stands for.

    Attributes:
        dataset, split: what it is.
        prompts: prompt ids, in the order of the class numbers 0 to P - 1; P is everything else.
        names: the set's class names that each prompt stands for.
        others: the set's class names that no prompt stands for (background of binary masks has no name).
        images, masks: the files, in order; left_out: images that the model was rectified on.
    """

    dataset: str
    split: str
    prompts: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    others: tuple[str, ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    left_out: int
    table: MaskTable

    def truth(self, number: int) -> Classes:
        """Class numbers of an image's mask, (H, W) int16; UNASKED where the annotators left it open.

        Raises DataError: the mask is missing, no image, of another shape than its image, or has a colour or
        number that the set's table does not name.
        """
        file = self.masks[number]
        values = _values(file, self.table)
        width, height = image_size(self.images[number])
        if abs(values.shape[1] * height / (values.shape[0] * width) - 1) > _ASPECT:
            raise DataError(
                f"{file}: {values.shape[1]} x {values.shape[0]} pixels, its image {width} x {height}"
                " (a mask may be smaller or larger, but not of another shape)"
            )
        present, where = np.unique(values, return_inverse=True)
        known = np.array([self._number(int(value)) for value in present], np.int16)
        return known[where.reshape(values.shape)]

    def _number(self, value: int) -> int:
        name = self.table.names.get(value)
        if name is not None and name.lower() in OPEN:
            return UNASKED
        return next((i for i, names in enumerate(self.names) if name in names), len(self.names))


def dense_task(
    folder: Path,
    split: str,
    prompts: Sequence[str],
    classes: Mapping[str, Sequence[str]],
    form: str | None = None,
    seen: Collection[str] = (),
) -> DenseTask:
    """Read a set of masks.

    Args:
        folder, split: the set; `form`: colour_masks or index_masks, default: detected.
        prompts: ids of the prompts. One stands for the set's class of the same name.
        classes: by prompt id, the names of the classes that it stands for instead.
        seen: `file_name` of images that the model was rectified on, which are left out.

    Raises:
        UsageError: a prompt that stands for no class of the set, or two for the same.
        DataError: not a set of masks, no table where one is needed, or nothing is left to report on.
        MissingSplit: the set does not have the split.
    """
    form = form or detect_format(folder)
    if form not in FORMS:
        raise DataError(f"{folder}: {form} has no masks (eval dense takes {' and '.join(FORMS)})")
    pictures, masks = split_folders(folder, split, "images", "masks")
    annotation_folder(masks)
    table = _colour_table(folder) if form == "colour_masks" else _index_table(folder)
    names = _names(folder, prompts, classes, tuple(table.names.values()))
    named = {name for some in names for name in some}
    every = image_files(pictures)
    images = tuple(path for path in every if not seen or file_name(path) not in seen)
    if not images:
        raise DataError(f"{pictures}: the model was rectified on every image here (name others)")
    return DenseTask(
        folder.name,
        split,
        tuple(prompts),
        names,
        tuple(n for n in table.names.values() if n not in named and n.lower() not in OPEN),
        images,
        tuple(masks / f"{path.stem}.png" for path in images),
        len(every) - len(images),
        table,
    )


def file_name(path: Path) -> str:
    """First 16 hex digits of a file's SHA-256: what a run notes of the images that it has seen."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _colour_table(folder: Path) -> MaskTable:
    codes = {red << 16 | green << 8 | blue: name for name, (red, green, blue) in colours(folder).items()}
    return MaskTable(folder / "class_dict.csv", True, codes)


def _index_table(folder: Path) -> MaskTable:
    listed = class_table(folder)
    if listed:
        return MaskTable(folder / "classes.csv", False, listed)
    return MaskTable(None, False, {1: FOREGROUND, 255: FOREGROUND})


def _names(
    folder: Path,
    prompts: Sequence[str],
    classes: Mapping[str, Sequence[str]],
    known: tuple[str, ...],
) -> tuple[tuple[str, ...], ...]:
    """The classes that each prompt stands for."""
    known = tuple(dict.fromkeys(known))
    for asked in classes:
        if asked not in prompts:
            raise UsageError(f"--class {asked}=...: no prompt {asked} ({suggest(asked, prompts)})")
    found: list[tuple[str, ...]] = []
    for prompt in prompts:
        own = tuple(classes.get(prompt, ()))
        if not own and len(prompts) == len(known) == 1:
            own = known  # one prompt, one class: there is nothing to mistake
        own = own or tuple(name for name in known if prompt_id(name) == prompt_id(prompt))
        if not own:
            mend = f"say which with --class {prompt}=NAME; the set has {', '.join(known)}"
            raise UsageError(f"{folder}: prompt {prompt} stands for no class of this set ({mend})")
        for name in own:
            if name not in known:
                raise UsageError(f"{folder}: no class {name} in this set ({suggest(name, known)})")
            if any(name in others for others in found):
                raise UsageError(f"{folder}: two prompts stand for the class {name} (give it to one)")
        found.append(own)
    return tuple(found)


def _values(file: Path, table: MaskTable) -> NDArray[np.integer]:
    """A mask's values, (H, W); all of them known to the table."""
    if not file.is_file():
        raise DataError(f"{file}: no such file (every image of a set of masks has one)")
    if table.coloured:
        values: NDArray[np.integer] = packed(read_mask(file))
    else:
        values = read_indices(file)
    present = {int(value) for value in np.unique(values)}
    if table.file is None:
        if not any(present <= pair for pair in _BINARY):
            raise DataError(f"{file}: values {_some(present, False)}: not binary (name them in classes.csv)")
        return values
    strange = present - set(table.names)
    if strange:
        pixels = int(np.isin(values, sorted(strange)).sum())
        kind = "colours" if table.coloured else "class numbers"
        raise DataError(
            f"{file}: unknown {kind} {_some(strange, table.coloured)} on {pixels} pixels"
            f" (add them to {table.file}, or save the mask without loss)"
        )
    return values


def _some(values: set[int], coloured: bool) -> str:
    first = [f"#{value:06x}" if coloured else str(value) for value in sorted(values)[:5]]
    return ", ".join(first) + (" ..." if len(values) > len(first) else "")
