"""Objects as they look from above, drawn on a canvas and noted there with their boxes."""

from __future__ import annotations

import numpy as np

from compile.gate.draw.paint import Canvas, Colour, Point, ellipse, rectangle, turned

_PAINT: tuple[Colour, ...] = (
    (236, 236, 238), (28, 30, 34), (150, 24, 26), (36, 62, 120), (120, 124, 130), (208, 206, 196),
    (196, 150, 40),
)  # fmt: skip
_WHITE: Colour = (240, 240, 238)


def vehicle(canvas: Canvas, centre: Point, angle: float, length: float = 20.0) -> None:
    """A car; at angle 0 it points to the right."""
    width = 0.44 * length
    body = _PAINT[int(canvas.rng.integers(len(_PAINT)))]
    outline = [
        (-0.50, -0.40), (-0.44, -0.50), (0.40, -0.50), (0.50, -0.34), (0.50, 0.34), (0.40, 0.50),
        (-0.44, 0.50), (-0.50, 0.40),
    ]  # fmt: skip
    hull = turned([(x * length, y * width) for x, y in outline], centre, angle)
    canvas.shadow(hull, 0.13 * length)
    canvas.shape(hull, body)
    glass: Colour = (24, 28, 34)
    for first, last in ((0.12, 0.25), (-0.38, -0.27)):
        pane = [(first, -0.36), (last, -0.42), (last, 0.42), (first, 0.36)]
        canvas.shape(turned([(x * length, y * width) for x, y in pane], centre, angle), glass)
    roof = turned(
        [(x * length, y * width) for x, y in [(-0.24, -0.36), (0.10, -0.36), (0.10, 0.36), (-0.24, 0.36)]],
        centre,
        angle,
    )
    canvas.shape(roof, (255, 255, 255), 0.18)
    canvas.add("vehicle", hull)


def airplane(canvas: Canvas, centre: Point, angle: float, length: float = 60.0) -> None:
    """An airliner; at angle 0 its nose points to the right."""
    right: list[Point] = [
        (0.50, 0.0), (0.46, 0.035), (0.40, 0.05), (0.16, 0.055), (-0.12, 0.46), (-0.20, 0.47), (-0.10, 0.055),
        (-0.34, 0.045), (-0.46, 0.19), (-0.52, 0.19), (-0.47, 0.02),
    ]  # fmt: skip
    outline = right + [(x, -y) for x, y in reversed(right)]
    hull = turned(outline, centre, angle, length)
    for part in (right, [(x, -y) for x, y in right]):
        canvas.shadow(turned(part[2:7], centre, angle, length), 0.05 * length)
    canvas.shape(hull, (226, 229, 233))
    for side in (-1, 1):
        engine = turned(
            [(x + 0.1, y * 0.5 + side * 0.17) for x, y in rectangle(0.12, 0.09)], centre, angle, length
        )
        canvas.shape(engine, (150, 154, 160))
    canvas.line(turned([(-0.47, 0.0), (0.44, 0.0)], centre, angle, length), (255, 255, 255), 0.035 * length)
    canvas.shape(turned([(-0.5, -0.012), (-0.34, 0.0), (-0.5, 0.012)], centre, angle, length), (180, 40, 44))
    canvas.add("airplane", hull)


def ship(canvas: Canvas, centre: Point, angle: float, length: float = 50.0) -> None:
    """A motor ship; at angle 0 its bow points to the right."""
    outline = [
        (-0.5, -0.12),
        (0.26, -0.13),
        (0.42, -0.07),
        (0.5, 0.0),
        (0.42, 0.07),
        (0.26, 0.13),
        (-0.5, 0.12),
    ]
    hull = turned(outline, centre, angle, length)
    canvas.shadow(hull, 0.04 * length)
    canvas.shape(hull, (214, 214, 216))
    deck: Colour = ((158, 74, 52), (92, 104, 116), (170, 158, 132))[int(canvas.rng.integers(3))]
    canvas.shape(turned([(0.86 * x + 0.01, 0.7 * y) for x, y in outline], centre, angle, length), deck)
    house = [(x - 0.28, y) for x, y in rectangle(0.2, 0.17)]
    canvas.shadow(turned(house, centre, angle, length), 0.05 * length)
    canvas.shape(turned(house, centre, angle, length), _WHITE)
    canvas.add("ship", hull)


def storage_tank(canvas: Canvas, centre: Point, radius: float = 20.0) -> None:
    """A white cylinder with its shadow and a rim."""
    rim = turned(ellipse(2 * radius, 2 * radius), centre, 0)
    canvas.shadow(rim, 0.55 * radius)
    canvas.shape(rim, (186, 188, 190))
    canvas.shape(turned(ellipse(1.88 * radius, 1.88 * radius), centre, 0), (233, 233, 230))
    canvas.line(turned(ellipse(1.2 * radius, 1.2 * radius), centre, 0), (206, 208, 208), 1.0)
    canvas.line([centre, (centre[0] + 0.9 * radius, centre[1] - 0.2 * radius)], (176, 178, 180), 1.0)
    canvas.add("storage tank", rim)


def tennis_court(canvas: Canvas, centre: Point, angle: float, length: float = 76.0) -> None:
    """A hard court with its surround; at angle 0 its net stands upright in the picture."""
    inner, outer = (((58, 104, 152), (62, 120, 84)), ((168, 92, 66), (78, 122, 80)))[
        int(canvas.rng.integers(2))
    ]
    ground = turned(rectangle(1.0, 0.52), centre, angle, length)
    canvas.shape(ground, outer)
    court = rectangle(0.66, 0.30)
    canvas.shape(turned(court, centre, angle, length), inner)
    thin = 0.011 * length
    canvas.line(turned(court, centre, angle, length), _WHITE, thin, closed=True)
    for y in (-0.112, 0.112):
        canvas.line(turned([(-0.33, y), (0.33, y)], centre, angle, length), _WHITE, thin)
    for x in (-0.178, 0.178):
        canvas.line(turned([(x, -0.112), (x, 0.112)], centre, angle, length), _WHITE, thin)
    canvas.line(turned([(-0.178, 0), (0.178, 0)], centre, angle, length), _WHITE, thin)
    canvas.line(turned([(0, -0.17), (0, 0.17)], centre, angle, length), (30, 40, 40), thin)
    canvas.add("tennis court", ground)


def basketball_court(canvas: Canvas, centre: Point, angle: float, length: float = 70.0) -> None:
    """A court with keys and arcs; at angle 0 its baskets are left and right."""
    ground = turned(rectangle(1.0, 0.56), centre, angle, length)
    canvas.shape(ground, ((178, 116, 78), (86, 132, 98))[int(canvas.rng.integers(2))])
    thin = 0.014 * length
    canvas.line(turned(rectangle(0.94, 0.5), centre, angle, length), _WHITE, thin, closed=True)
    canvas.line(turned([(0, -0.25), (0, 0.25)], centre, angle, length), _WHITE, thin)
    canvas.line(turned(ellipse(0.13, 0.13), centre, angle, length), _WHITE, thin)
    for side in (-1, 1):
        key = [(side * 0.375 + x, y) for x, y in rectangle(0.19, 0.16)]
        canvas.shape(turned(key, centre, angle, length), (58, 92, 150))
        canvas.line(turned(key, centre, angle, length), _WHITE, thin, closed=True)
        arc = [(side * (0.44 - abs(x)), y) for x, y in ellipse(0.46, 0.46, -80, 80)]
        canvas.line(turned(arc, centre, angle, length), _WHITE, thin)
    canvas.add("basketball court", ground)


def baseball_diamond(canvas: Canvas, centre: Point, angle: float, size: float = 110.0) -> None:
    """A field with its brown infield; at angle 0 it opens to the right."""
    grass: Colour = (88, 128, 64)
    home = (-0.45, 0.0)
    field = [home, *((home[0] + x, y) for x, y in ellipse(1.84, 1.84, -45, 45))]
    canvas.shape(turned(field, centre, angle, size), grass)
    dirt: Colour = (176, 134, 96)
    infield = [home, *((home[0] + x, y) for x, y in ellipse(0.98, 0.98, -45, 45))]
    canvas.shape(turned(infield, centre, angle, size), dirt)
    inner = turned(rectangle(0.235, 0.235), (0, 0), 45)
    canvas.shape(turned([(x - 0.235, y) for x, y in inner], centre, angle, size), grass)
    canvas.shape(turned([(x + home[0] + 0.02, y) for x, y in ellipse(0.15, 0.15)], centre, angle, size), dirt)
    canvas.shape(turned([(x - 0.235, y) for x, y in ellipse(0.05, 0.05)], centre, angle, size), dirt)
    for y in (-0.64, 0.64):
        canvas.line(turned([home, (home[0] + 0.64, y)], centre, angle, size), _WHITE, 0.008 * size)
    canvas.add("baseball diamond", turned(field, centre, angle, size))


def tree(canvas: Canvas, centre: Point, radius: float = 9.0) -> None:
    """A crown of leaves in clumps, lit from the upper left."""
    rng = canvas.rng
    crown = turned(ellipse(1.9 * radius, 1.9 * radius), centre, 0)
    canvas.shadow(crown, 0.75 * radius)
    shade = int(rng.integers(-10, 11))
    canvas.shape(crown, (36 + shade, 58 + shade, 32 + shade))
    for _ in range(26):
        angle, reach = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 0.85))
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        light = int(np.clip(24 - 26 * (x + y) / radius, -18, 62) + rng.integers(-9, 10))
        clump = turned(ellipse(0.42 * radius, 0.42 * radius), (centre[0] + x, centre[1] + y), 0)
        canvas.shape(clump, (46 + light, 72 + light, 38 + light // 2), 0.8)
    canvas.add("tree", turned(ellipse(2 * radius, 2 * radius), centre, 0))


def person(canvas: Canvas, centre: Point, size: float = 7.0) -> None:
    """Somebody in an infrared picture: a warm spot, taller than wide."""
    canvas.shape(turned(ellipse(0.62 * size, size), centre, 0), (226, 226, 226), 0.9)
    canvas.shape(
        turned(ellipse(0.4 * size, 0.4 * size), (centre[0], centre[1] - 0.35 * size), 0), (255, 255, 255)
    )
    canvas.add("person", turned(ellipse(0.7 * size, 1.1 * size), centre, 0))


def house(
    canvas: Canvas, centre: Point, angle: float, width: float, height: float, flat: bool = False
) -> None:
    """A building, which nobody counts: gabled, or flat with what stands on such roofs."""
    rng = canvas.rng
    outline = turned(rectangle(width, height), centre, angle)
    canvas.shadow(outline, 0.22 * min(width, height) + 3)
    base = (166, 164, 160) if flat else ((150, 84, 66), (112, 108, 108), (134, 98, 78))[int(rng.integers(3))]
    canvas.shape(outline, base)
    if not flat:
        canvas.shape(
            turned(
                [(-width / 2, 0), (width / 2, 0), (width / 2, height / 2), (-width / 2, height / 2)],
                centre,
                angle,
            ),
            (0, 0, 0),
            0.25,
        )
        canvas.line(turned([(-width / 2, 0), (width / 2, 0)], centre, angle), (206, 196, 186), 1.0, 0.6)
        return
    canvas.line(outline, (206, 206, 204), 1.6, closed=True)
    for _ in range(int(width * height / 500)):
        x, y = rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.36, 0.36) * height
        box = turned([(x + u, y + v) for u, v in rectangle(6, 5)], centre, angle)
        canvas.shadow(box, 2.0)
        canvas.shape(box, (214, 216, 218))
