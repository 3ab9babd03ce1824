"""Pictures of open ground and water, with and without things on it."""

from __future__ import annotations

import numpy as np

from compile.gate.draw.grounds import GRASS, SAND, SEA, SOIL, Sentences, apart
from compile.gate.draw.paint import Canvas, ellipse, rectangle, turned
from compile.gate.draw.things import person, ship, tree


def ships(canvas: Canvas) -> Sentences:
    """Ships on open water, with their wakes."""
    canvas.ground(SEA, 3)
    count = int(canvas.rng.integers(3, 6)) * (2 if canvas.width > 300 else 1)
    for centre in apart(canvas, count, 46):
        angle, length = float(canvas.rng.uniform(0, 360)), float(canvas.rng.uniform(34, 58))
        wake = turned([(-0.5, 0), (-1.5, -0.2), (-1.5, 0.2)], centre, angle, length)
        canvas.shape(wake, (150, 176, 184), 0.35)
        ship(canvas, centre, angle, length)
    return (
        "several ships are sailing on the dark blue sea .",
        "some boats are in the water .",
    )


def park(canvas: Canvas) -> Sentences:
    """Single trees on a lawn."""
    canvas.ground(GRASS)
    width, height = canvas.width, canvas.height
    path = [(0.0, height * 0.8), (width * 0.5, height * 0.55), (float(width), height * 0.7)]
    canvas.line(path, (186, 172, 146), 7.0)
    for centre in apart(canvas, int(width * height / 4400), 25):
        tree(canvas, centre, float(canvas.rng.uniform(7, 12)))
    return (
        "many green trees are planted on the lawn in a park .",
        "a path goes through a meadow with single trees .",
    )


def thermal(canvas: Canvas) -> Sentences:
    """People at night, in infrared: warm spots on cool ground."""
    canvas.ground(((62, 62, 62), (74, 74, 74), (88, 88, 88)), 5)
    canvas.shape(
        turned(rectangle(2 * canvas.width, 50), (canvas.width / 2, canvas.height * 0.55), -18),
        (108, 108, 108),
    )
    for centre in apart(canvas, int(canvas.rng.integers(4, 9)) * (2 if canvas.width > 300 else 1), 18):
        person(canvas, centre, float(canvas.rng.uniform(9, 12)))
    return (
        "an infrared picture of people at night .",
        "some people walk across a dark square in a thermal image .",
    )


def beach(canvas: Canvas) -> Sentences:
    """Sand and surf, and nothing to count."""
    canvas.ground(SEA, 3)
    width, height = canvas.width, canvas.height
    shore = [(x, height * 0.55 + 9 * np.sin(x / 37)) for x in range(-10, width + 20, 10)]
    for up, colour in ((26, (96, 148, 156)), (12, (206, 222, 224))):
        canvas.ground(
            (colour, colour),
            5,
            canvas.blob([*((x, y - up) for x, y in shore), (width, height), (0, height)], 1.5),
        )
    canvas.ground(SAND, 4, canvas.blob([*shore, (width, height), (0, height)], 1.0))
    return (
        "white waves of the blue sea meet the yellow beach .",
        "this is a beach with sand and sea water .",
    )


def fields(canvas: Canvas) -> Sentences:
    """Ploughed and green fields."""
    canvas.ground(SOIL)
    colours = ((126, 140, 70), (156, 140, 92), (96, 122, 58))
    width = canvas.width / 5
    for number in range(5):
        middle = (width * number + 26, canvas.height / 2)
        colour = colours[int(canvas.rng.integers(3))]
        strip = turned(rectangle(width - 2, 3 * canvas.height), middle, 14)
        canvas.ground((colour, colour), 6, canvas.blob(strip))
        for x in np.arange(-width / 2, width / 2, 5):
            furrow = turned([(x, -2 * canvas.height), (x, 2 * canvas.height)], middle, 14)
            canvas.line(furrow, (70, 76, 40), 0.8, 0.3)
    return (
        "many pieces of farmland are together .",
        "green and brown fields form stripes of agricultural land .",
    )


def desert(canvas: Canvas) -> Sentences:
    """Dunes."""
    canvas.ground(((196, 158, 104), (212, 176, 122), (226, 194, 142)), 4)
    for number in range(9):
        y = canvas.height * number / 8
        ridge = [
            (float(x), y + 13 * float(np.sin(x / 41 + number * 1.7)))
            for x in range(-10, canvas.width + 20, 8)
        ]
        canvas.line(ridge, (150, 112, 66), 5.0, 0.35)
    return (
        "it is a piece of yellow desert with dunes .",
        "the wind has drawn ripples into the sand of a desert .",
    )


def river(canvas: Canvas) -> Sentences:
    """A river between woods."""
    canvas.ground(((58, 82, 46), (70, 96, 52), (84, 108, 62)), 15)
    bank = [
        (canvas.width * 0.42 + 34 * float(np.sin(y / 50)), float(y))
        for y in range(-20, canvas.height + 30, 10)
    ]
    other = [(x + 58, y) for x, y in reversed(bank)]
    canvas.ground(((62, 88, 84), (72, 100, 92)), 3, canvas.blob([*bank, *other], 1.0))
    return ("a green river goes through the dense forest .", "a curved river with trees on both banks .")


def pond(canvas: Canvas) -> Sentences:
    """A pond in bare ground."""
    canvas.ground(SAND)
    shore = turned(ellipse(150, 110), (canvas.width * 0.5, canvas.height * 0.5), 20)
    canvas.ground(((40, 78, 84), (52, 92, 94)), 3, canvas.blob(shore, 3.0))
    return ("a dark green pond is surrounded by bare land .", "an irregular pond in the bareland .")
