"""Line plots as SVG, without a library: axes, a curve for each name, a legend. Atrium's own curve is the thick one."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 200, 36, 44
COLOURS = (
    "#888888",
    "#d98a00",
    "#5b7f00",
    "#b04a9d",
    "#0087a8",
    "#a8431f",
    "#5c5fc4",
    "#3f8f6b",
    "#c2557a",
    "#7a6a3a",
)
OWN = "#0b57d0"
Points = Sequence[tuple[float, float]]


def line_plot(title: str, x_name: str, y_name: str, curves: Mapping[str, Points], *, log: bool) -> str:
    """The curves as one SVG document. `log`: the y axis is logarithmic; what is not above 0 is left out there."""
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)]
        for name, points in curves.items()
    }
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    low, high = _bounds(ys, log)
    left, right = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / ((right - left) or 1)
        up = (_scale(y, log) - _scale(low, log)) / ((_scale(high, log) - _scale(low, log)) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>',
    ]
    for tick in _ticks(low, high, log):
        _, y = place(left, tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for x in sorted(set(xs)):
        at, _ = place(x, low)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for number, (name, points) in enumerate(kept.items()):
        own = name == "Atrium"
        colour, width = (OWN, 3) if own else (COLOURS[number % len(COLOURS)], 1.5)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        y = TOP + 10 + 18 * number
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 36}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="{width}"/>'
        )
        parts.append(f'<text x="{WIDTH - RIGHT + 42}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _bounds(values: Sequence[float], log: bool) -> tuple[float, float]:
    if not values:
        return (0.1, 1.0) if log else (0.0, 1.0)
    if log:
        return 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)) + 1e-9)
    return 0.0, max(values) * 1.05 or 1.0


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    return [low + (high - low) * step / 5 for step in range(6)]
