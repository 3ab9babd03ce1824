"""Precision at 10 of `remoteclip search` for every class name of a data set, beside chance.

    python benchmarks/search.py ../shared/data/resisc12 ../shared/data/ucm_captions

Classes come from the folders' names, or from what a Karpathy JSON file in the folder says. The images, the
sentence and the ranking go through the command's own functions. `--templates` compares wordings by
mean average precision instead, on the validation images of a Karpathy set (rsicd): none of the sets above has
a part in that choice.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle.load import load_bundle
from edge.progress import shown
from edge.runs.search.find import search_images
from edge.runs.search.images import ImageEmbedder, find_images
from edge.runs.search.query import TEMPLATE, embed_query
from edge.runtime import BundleRuntime

WORDED = {
    "baseballdiamond": "baseball diamond",
    "denseresidential": "dense residential area",
    "golfcourse": "golf course",
    "mediumresidential": "medium residential area",
    "mobilehomepark": "mobile home park",
    "parkinglot": "parking lot",
    "sparseresidential": "sparse residential area",
    "storagetanks": "storage tanks",
    "tenniscourt": "tennis court",
    "bareland": "bare land",
    "baseballfield": "baseball field",
    "footballfield": "football field",
    "railwaystation": "railway station",
}
"""Class names that their sets write as one word."""
WAYS: dict[str, tuple[str, ...]] = {
    "as typed": ("{}",),
    "an aerial photo of (shipped)": (TEMPLATE,),
    "a satellite photo of": ("a satellite photo of {}.",),
    "mean of three": ("a satellite photo of {}.", "an aerial photo of a {}", "a {}"),
    "mean of four": ("{}", TEMPLATE, "a satellite photo of {}.", "there is a {} in the picture"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--templates", action="store_true", help="compare wordings on validation images")
    parser.add_argument("--bundle", default="default")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    model = BundleRuntime(bundle)
    with ImageEmbedder(model, (bundle.manifest_sha256, "openvino", "auto")) as embedder:
        for folder in options.folders:
            if options.templates:
                compare_templates(folder, model, embedder)
            else:
                precision_table(folder, model, embedder)


def precision_table(folder: Path, model: BundleRuntime, embedder: ImageEmbedder) -> None:
    images = find_images(folder)
    truth = labels(folder, images)
    print(
        f"\n{folder.name}: {len(images)} images\n\n| class name | images | P@10 | chance |\n|---|---|---|---|"
    )
    found = []
    for name in sorted(set(truth.values())):
        query = embed_query(worded(name), model.sentences)
        with shown(f"{folder.name}: {name}", len(images)) as step:
            hits = search_images(images, query, embedder, model.calibration, 10, step)
        count = sum(label == name for label in truth.values())
        found.append((np.mean([truth[hit.path] == name for hit in hits]), count / len(images)))
        print(f"| {worded(name)} | {count} | {found[-1][0]:.1f} | {found[-1][1]:.2f} |", flush=True)
    mean, chance = np.mean(found, axis=0)
    print(f"| **mean of {len(found)}** | {len(images)} | **{mean:.3f}** | {chance:.3f} |")


def compare_templates(folder: Path, model: BundleRuntime, embedder: ImageEmbedder) -> None:
    images, truth = validation_images(folder)
    with shown(folder.name, len(images)) as step:
        readable, embeddings = embedder.embed(images, step)
    names = sorted(set(truth.values()))
    print(f"\n{folder.name}: {len(images)} validation images, {len(names)} classes\n")
    print("| wording | mean average precision |\n|---|---|")
    for way, templates in WAYS.items():
        found = []
        for name in names:
            rows = model.sentences.encode([template.format(worded(name)) for template in templates])
            order = np.argsort(-(embeddings @ rows.mean(axis=0)), kind="stable")
            right = np.array([truth[readable[index]] == name for index in order])
            found.append((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())
        print(f"| {way} | {np.mean(found):.3f} |")


def labels(folder: Path, images: Sequence[Path]) -> dict[Path, str]:
    """Class of every image: its folder, or, where the set has one folder, its entry in the Karpathy JSON."""
    described = list(folder.glob("dataset_*.json"))
    if not described:
        return {path: path.parent.name for path in images}
    of = {entry["filename"]: entry["label"] for entry in json.loads(described[0].read_text())["images"]}
    return {path: of[path.name].lower() for path in images}


def validation_images(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    (described,) = folder.glob("dataset_*.json")
    entries = [one for one in json.loads(described.read_text())["images"] if one["split"] == "val"]
    truth = {folder / "images" / entry["filename"]: entry["label"].lower() for entry in entries}
    return list(truth), truth


def worded(name: str) -> str:
    return WORDED.get(name, re.sub("_", " ", name))


if __name__ == "__main__":
    main()
