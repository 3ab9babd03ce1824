"""The data engine: annotated sets become captioned WebDataset shards.

What `remoteclip data build RECIPE.yaml -o OUT` leaves in OUT:

    shards/train-000000.tar     WebDataset: for every sample KEY.jpg (or .png, .webp) and KEY.json
    shards/val-000000.tar       the images set aside for validation
    manifest.json               sources, licences, counts, hash of every shard and of the recipe
    report.json, report.md      findings, duplicates and leaks: everything that was left out, and why

KEY.json: {"captions": [...], "set": name, "file": path below the data root, "boxes": [[x1, y1, x2, y2], ...],
"labels": [...], "names": the set's classes by label, "ignored": [[x1, y1, x2, y2], ...], "width", "height",
"label": scene label or ""}; boxes in pixels of the stored image, of zero size where a set gives points.
Samples lie in a seeded random order, so that reading shard by shard already mixes the sets. The bytes of
the shards follow from the recipe and the data alone, whichever engine and however many workers wrote them.
"""
