"""The page's charts as inline SVG. Their only texts are numbers, so nothing in them needs escaping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 16, 24
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Line:
    """A line across a chart at a value, with the CSS class that colours it."""

    value: float
    css: str


def histogram(bins: Sequence[int], lines: Sequence[Line]) -> str:
    """Numbers of sightings in equal steps of the score from 0 to 1, on a logarithmic scale."""
    most = max(*bins, 1)
    ceiling = math.log1p(most)
    step = _span_x(1) / len(bins)
    parts = [_grid_y([(count, math.log1p(count) / ceiling) for count in _log_ticks(most)])]
    for number, count in enumerate(bins):
        if count:
            high = _span_y(math.log1p(count) / ceiling)
            parts.append(
                f'<rect class="bar" x="{_LEFT + number * step + 0.5:.1f}" y="{_y(0) - high:.1f}" '
                f'width="{step - 1:.1f}" height="{high:.1f}"><title>{number / len(bins):.2f} to '
                f"{(number + 1) / len(bins):.2f}: {count}</title></rect>"
            )
    parts += [_label_x(_x(tick), f"{tick:g}") for tick in (0, 0.25, 0.5, 0.75, 1)]
    for line in lines:
        x = _x(line.value)
        parts.append(f'<line class="{line.css}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{_y(0):.1f}"/>')
        anchor, shift = ("end", -4) if line.value > 0.5 else ("start", 4)
        if line.css == "threshold":
            parts.append(
                f'<text class="tick strong" x="{x + shift:.1f}" y="{_TOP - 2}" text-anchor="{anchor}">'
                f"{line.value:.2f}</text>"
            )
    return _svg(parts)


def over_time(
    times: Sequence[float],
    series: Sequence[Sequence[float]],
    *,
    highest: float | None = None,
    lines: Sequence[Line] = (),
    bars: bool = False,
) -> str:
    """One or two series over time; long ones are thinned to the highest value of each stretch.

    Args:
        times: seconds, ascending; with `bars`, images that stand for themselves, at even distances.
        series: each as long as `times`; the second is drawn over the first.
        highest: end of the scale; default: the greatest value.
    """
    top = highest or max([max(values, default=0) for values in series] + [1])
    parts = [_grid_y([(tick, tick / top) for tick in _ticks(top, whole=highest is None)])]
    for number, values in enumerate(series):
        css = "now" if number + 1 == len(series) else "before"
        if bars:
            width = _span_x(1) / max(1, len(values))
            share = 0.8 if css == "before" or len(series) == 1 else 0.4
            for index, value in enumerate(values):
                high, x = _span_y(value / top), _LEFT + (index + 0.5 - share / 2) * width
                parts.append(
                    f'<rect class="{css} bar" x="{x:.1f}" y="{_y(0) - high:.1f}" width="{width * share:.1f}" '
                    f'height="{high:.1f}"><title>{value:g}</title></rect>'
                )
        else:
            points = _thinned(times, values)
            end = max(times[-1], 1e-9) if times else 1
            path = " ".join(f"{_x(time / end):.1f},{_y(value / top):.1f}" for time, value in points)
            parts.append(f'<polyline class="{css} curve" points="{path}"/>')
    if not bars and times:
        end = times[-1]
        parts += [_label_x(_x(share), f"{end * share:.0f} s") for share in (0, 0.5, 1)]
    for line in lines:
        y = _y(line.value / top)
        parts.append(
            f'<line class="{line.css}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    return _svg(parts)


def _thinned(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    stretch = max(1, math.ceil(len(values) / _MOST_POINTS))
    return [(times[begin], max(values[begin : begin + stretch])) for begin in range(0, len(values), stretch)]


def _ticks(top: float, *, whole: bool) -> list[float]:
    """About four round values from 0 to `top`, whole numbers if asked for."""
    size = 10 ** math.floor(math.log10(top))
    step = next(step for step in (size / 5, size / 2, size, 2 * size) if top / step <= 5)
    step = max(step, 1) if whole else step
    return [round(step * number, 10) for number in range(int(top / step) + 1)]


def _log_ticks(most: int) -> list[int]:
    return [0, *(10**power for power in range(7) if 10**power <= most)]


def _grid_y(ticks: Sequence[tuple[float, float]]) -> str:
    return "".join(
        f"{_level('grid', _y(share))}"
        f'<text class="tick" x="{_LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value, share in ticks
    )


def _level(css: str, y: float) -> str:
    return f'<line class="{css}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _label_x(x: float, text: str) -> str:
    anchor = "start" if x < _LEFT + 5 else "end" if x > WIDTH - _RIGHT - 5 else "middle"
    return f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{text}</text>'


def _x(share: float) -> float:
    return _LEFT + _span_x(share)


def _span_x(share: float) -> float:
    return share * (WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - _span_y(share)


def _span_y(share: float) -> float:
    return min(1.0, share) * (HEIGHT - _TOP - _BOTTOM)


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-hidden="true">{"".join(parts)}</svg>'
