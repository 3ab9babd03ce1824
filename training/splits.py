"""Validation splits and leaks, as committed lists of name hashes.

`python -m training.splits DATA_ROOT` writes `splits/<set>.val.txt` (training images set aside to choose
thresholds and checkpoints on) and `splits/<set>.leak.txt` (training images that are near-duplicates of an
evaluated or set-aside one).
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically
from training.errors import DataError, MissingSplit
from training.readers import Reader
from training.samples import ObjectSample

_ONE_IN = 8  # images of a set that nobody has listed
FOLDER = Path(__file__).parent / "splits"


def name_hash(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of the file's name: enough to tell images apart, and no image."""
    return hashlib.sha256(path.name.encode()).hexdigest()[:16]


def listed(name: str, kind: str) -> frozenset[str]:
    """The hashes in `splits/<name>.<kind>.txt`; none where the set has no such list."""
    file = FOLDER / f"{name}.{kind}.txt"
    return frozenset(file.read_text("ascii").split()) if file.is_file() else frozenset()


def belongs(name: str, path: Path, split: str) -> bool:
    """Whether a training image of the set belongs to `train` or to `val`."""
    hashed = name_hash(path)
    validation = hashed in listed(name, "val")
    return validation if split == "val" else not validation and hashed not in listed(name, "leak")


def read_part(read: Reader, folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and the images of an object set that a run trains on (`train`) or is judged by (`val`).

    A set with a committed list is divided by it, one with a split `val` of its own by that. Of any other, and
    of one that is not divided at all, every eighth image is set aside, by the hash of its name. Raises what
    the reader raises.
    """
    try:
        names, samples = read(folder, "train")
    except MissingSplit as missing:
        try:
            return _by_hash(*read(folder, "all"), split)
        except MissingSplit:
            raise missing from None
    if (FOLDER / f"{folder.name}.val.txt").is_file():
        return names, [s for s in samples if belongs(folder.name, s.path, split)]
    if folder.is_file():
        return _by_hash(names, samples, split)
    try:
        own_names, own = read(folder, "val")
    except MissingSplit:
        return _by_hash(names, samples, split)
    return (own_names, own) if split == "val" else (names, samples)


def _by_hash(
    names: tuple[str, ...], samples: list[ObjectSample], split: str
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    ordered = sorted(samples, key=lambda sample: name_hash(sample.path))
    aside = {sample.path for sample in ordered[: -(-len(samples) // _ONE_IN)]}
    return names, [s for s in samples if (s.path in aside) == (split == "val")]


# What to set aside: whole groups where frames follow one another, a share by hash elsewhere.
_GROUPS: dict[str, Callable[[str], bool]] = {
    "cats_vehicles": lambda stem: stem.startswith(("5_", "6_")),
    # One of the two vertical flights: the set is tested on a third one.
    "aerial_cars": lambda stem: stem.startswith(("MOS15", "MOS16", "MOS17")),
}
_SHARES = {"vhr10": 0.12, "hit_uav": 0.12, "semantic_drone": 0.1, "urban_trees": 0.12}


def choose_validation(name: str, paths: Sequence[Path]) -> list[int]:
    """Indices of the images to set aside for validation."""
    if name in _GROUPS:
        return [i for i, path in enumerate(paths) if _GROUPS[name](path.stem)]
    share = _SHARES.get(name, 0.0)
    return [i for i, path in enumerate(paths) if int(name_hash(path), 16) / 16**16 < share]


def write_lists(root: Path) -> None:
    """Write every set's lists. Reads each image once for its perceptual hash."""
    from training.duplicates import near_duplicates, phash
    from training.progress import track

    train, evaluated = _image_files(root)
    hashes: dict[Path, NDArray[np.bool_]] = {}
    every = [path for paths in (*train.values(), evaluated) for path in paths]
    for path in track(every, "perceptual hashes"):
        hashes[path] = phash(path)
    references = [hashes[path] for path in evaluated]
    for name, paths in train.items():
        chosen = set(choose_validation(name, paths))
        validation = [paths[i] for i in sorted(chosen)]
        rest = [path for i, path in enumerate(paths) if i not in chosen]
        leaking = near_duplicates([hashes[p] for p in rest], references + [hashes[p] for p in validation])
        _write(name, "val", validation)
        _write(name, "leak", [rest[i] for i in leaking])
        print(f"{name}: {len(paths)} images, {len(validation)} validation, {len(leaking)} leaks removed")


def _image_files(root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Training images of every set, and all images that something is evaluated on."""
    from training.readers import OBJECT_READERS, captions, detect_format

    train: dict[str, list[Path]] = defaultdict(list)
    evaluated: list[Path] = []
    for folder in sorted(child for child in root.iterdir() if child.is_dir()):
        try:
            form = detect_format(folder)
        except DataError:
            evaluated += sorted((folder / "images").glob("*")) if (folder / "images").is_dir() else []
            continue
        if form == "karpathy":
            for split in ("train", "val", "test"):
                paths = [sample.path for sample in captions.read_karpathy(folder, split)]
                keep = split == "train" and folder.name == "rsicd"
                (train[folder.name] if keep else evaluated).extend(paths)
        elif form == "class_folders":
            evaluated += [sample.path for sample in captions.read_class_folders(folder)]
        else:
            for split in ("train", "test"):
                try:
                    paths = [sample.path for sample in OBJECT_READERS[form](folder, split)[1]]
                except MissingSplit:  # a set for evaluation only, or one without a test split
                    continue
                (train[folder.name] if split == "train" else evaluated).extend(paths)
    return dict(train), evaluated


def _write(name: str, kind: str, paths: Sequence[Path]) -> None:
    file = FOLDER / f"{name}.{kind}.txt"
    if not paths:
        file.unlink(missing_ok=True)
        return
    FOLDER.mkdir(exist_ok=True)
    lines = sorted(name_hash(path) for path in paths)
    write_atomically(file, "".join(f"{line}\n" for line in lines).encode("ascii"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m training.splits DATA_ROOT")
    write_lists(Path(sys.argv[1]))
