"""Pictures of what people built: roads, airports, sports grounds, houses."""

from __future__ import annotations

import numpy as np

from compile.gate.draw.grounds import ASPHALT, CONCRETE, GRASS, SOIL, Sentences
from compile.gate.draw.paint import Canvas, rectangle, turned
from compile.gate.draw.things import (
    airplane,
    baseball_diamond,
    basketball_court,
    house,
    storage_tank,
    tennis_court,
    tree,
    vehicle,
)


def parking(canvas: Canvas) -> Sentences:
    """Rows of bays, most of them taken."""
    canvas.ground(ASPHALT, 5)
    bay, depth = 15.0, 30.0
    for row in range(2, int(canvas.height / depth) - 1, 3):
        for column in range(1, int(canvas.width / bay) - 1):
            x, y = (column + 0.5) * bay, row * depth + 8
            canvas.line([(x - bay / 2, y - 13), (x - bay / 2, y + 13)], (214, 214, 210), 1.0)
            if canvas.rng.random() < 0.62:
                jitter = canvas.rng.normal(0, 1.2, 2)
                vehicle(canvas, (x + jitter[0] / 2, y + jitter[1]), 90 + canvas.rng.normal(0, 2), 24)
    canvas.ground(GRASS, mask=canvas.strip(0, 26))
    return (
        "many cars are parked in a parking lot .",
        "a parking lot with rows of cars seen from above .",
    )


def road(canvas: Canvas) -> Sentences:
    """A road across fields, with traffic both ways."""
    canvas.ground(GRASS)
    angle, width = float(canvas.rng.uniform(-35, 35)), float(canvas.width)
    middle = (canvas.width / 2, canvas.height / 2)
    canvas.ground(ASPHALT, 4, canvas.blob(turned(rectangle(2 * width, 46), middle, angle)))
    for y in (-22.0, 22.0):
        canvas.line(turned([(-width, y), (width, y)], middle, angle), (226, 226, 220), 1.4)
    for x in np.arange(-width, width, 22):
        canvas.line(turned([(x, 0), (x + 11, 0)], middle, angle), (226, 226, 220), 1.4)
    for lane, turn in ((-11, 0), (11, 180)):
        at = -0.5 * width + float(canvas.rng.uniform(10, 50))
        while at < 0.5 * width:
            (centre,) = turned([(at, lane + float(canvas.rng.normal(0, 1.5)))], middle, angle)
            if 14 < centre[0] < canvas.width - 14 and 14 < centre[1] < canvas.height - 14:
                vehicle(canvas, centre, angle + turn, float(canvas.rng.uniform(22, 27)))
            at += float(canvas.rng.uniform(40, 110))
    return (
        "some cars are driving on a straight road between green fields .",
        "a road passes through the meadow .",
    )


def apron(canvas: Canvas) -> Sentences:
    """Airliners in a row before a terminal."""
    canvas.ground(CONCRETE, 4)
    house(canvas, (canvas.width / 2, 14), 0, canvas.width * 0.9, 30, flat=True)
    length = float(canvas.rng.uniform(50, 62))
    for x in np.arange(length * 0.62, canvas.width - length * 0.5, length * 1.12):
        if canvas.rng.random() < 0.85:
            airplane(canvas, (float(x), 46 + length / 2), -90 + float(canvas.rng.normal(0, 2)), length)
    canvas.line([(0, 40 + length * 1.5), (canvas.width, 40 + length * 1.5)], (214, 178, 60), 1.6)
    canvas.ground(GRASS, mask=canvas.strip(canvas.height - 70, canvas.height))
    x, y = float(canvas.rng.uniform(60, canvas.width - 60)), canvas.height - 34.0
    canvas.shape(turned(rectangle(2.2 * canvas.width, 40), (x, y), 0), (112, 112, 114))
    airplane(canvas, (x, y), float(canvas.rng.choice((0, 180))), length * 0.95)
    return (
        "many planes are parked next to a long building in an airport .",
        "several white planes are parked near a terminal .",
    )


def tanks(canvas: Canvas) -> Sentences:
    """A tank farm."""
    canvas.ground(SOIL, 6)
    radius = float(canvas.rng.uniform(17, 23))
    step = 3.1 * radius
    for x in np.arange(step * 0.6, canvas.width - radius, step):
        canvas.line([(float(x) - step / 2, 0), (float(x) - step / 2, canvas.height)], (176, 172, 164), 3.0)
        for y in np.arange(step * 0.6, canvas.height - radius, step):
            if canvas.rng.random() < 0.8:
                storage_tank(canvas, (float(x), float(y)), radius * float(canvas.rng.uniform(0.8, 1.1)))
    return (
        "many white storage tanks are on the bare ground .",
        "some storage tanks are arranged in rows in a factory .",
    )


def tennis(canvas: Canvas) -> Sentences:
    """Courts side by side, with trees around."""
    canvas.ground(GRASS)
    angle = 90.0
    for x in range(44, canvas.width - 30, 48):
        for y in (76, canvas.height - 74):
            if canvas.rng.random() < 0.85:
                tennis_court(canvas, (float(x), float(y)), angle, 84)
    for x in range(10, canvas.width, 22):
        tree(canvas, (x + float(canvas.rng.normal(0, 2)), canvas.height / 2), float(canvas.rng.uniform(7, 9)))
    return (
        "several tennis courts are surrounded by green trees .",
        "there are some tennis courts side by side .",
    )


def basketball(canvas: Canvas) -> Sentences:
    """Basketball courts beside a school."""
    canvas.ground(CONCRETE, 4)
    house(canvas, (canvas.width / 2, 28), 0, canvas.width * 0.8, 44, flat=True)
    for x in range(68, canvas.width - 40, 112):
        for y in (104, 168, 228):
            if y < canvas.height - 26 and canvas.rng.random() < 0.8:
                basketball_court(canvas, (float(x), float(y)), 0, 92)
    return (
        "some basketball courts are next to a school building .",
        "several basketball courts with white lines are near a teaching building .",
    )


def baseball(canvas: Canvas) -> Sentences:
    """Baseball fields back to back."""
    canvas.ground(((96, 122, 68), (108, 132, 76), (118, 138, 84)))
    wide = canvas.width > 300
    for x in (0.28, 0.76) if wide else (0.52,):
        turn = 90.0 * float(canvas.rng.integers(4)) + 45
        baseball_diamond(canvas, (x * canvas.width, 0.52 * canvas.height), turn, 150 if not wide else 165)
    for x in range(8, canvas.width, 19):
        tree(canvas, (float(x), 9 + float(canvas.rng.normal(0, 1))), float(canvas.rng.uniform(6, 8)))
    return (
        "a baseball field is surrounded by green grass .",
        "there is a baseball diamond in the park .",
    )


def houses(canvas: Canvas) -> Sentences:
    """A street of houses with gardens, trees, and cars on the drives."""
    canvas.ground(GRASS)
    middle = canvas.height / 2
    canvas.ground(
        ASPHALT,
        4,
        canvas.strip(middle - 15, middle + 15),
    )
    for side in (-1, 1):
        for x in range(40, canvas.width - 20, 74):
            canvas.shape(turned(rectangle(15, 46), (x + 26, middle + side * 36), 0), (170, 168, 162))
            house(canvas, (x - 6.0, middle + side * 66), 0, 44, 34)
            if canvas.rng.random() < 0.7:
                vehicle(canvas, (x + 26.0, middle + side * 40), 90 * side, 21)
            tree(
                canvas,
                (x - 28.0, middle + side * float(canvas.rng.uniform(96, 112))),
                float(canvas.rng.uniform(8, 12)),
            )
    for x in range(30, canvas.width, 120):
        vehicle(canvas, (x + float(canvas.rng.uniform(0, 60)), middle + 7), 180, 22)
    return (
        "some houses with gardens stand on both sides of a road in a residential area .",
        "a sparse residential area with cars and trees .",
    )
