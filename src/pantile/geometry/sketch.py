"""A drawing of a grid: the image, its coverage, the first patches and the last, as SVG in HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from .axis import AxisGrid, whole_axis

__all__ = ["sketch_html"]

_CELLS = 26
_ROOM = 220.0


def sketch_html(axes: Sequence[AxisGrid], title: str) -> str:
    """An HTML fragment: a table of the grid's numbers beside an SVG sketch of its last two axes."""
    counts = [axis.count for axis in axes]
    rows = {
        "counts": " x ".join(f"{n:,}" for n in counts),
        "patches": f"{math.prod(counts):,}",
        "features": f"{math.prod(axis.patch for axis in axes):,}",
        "covers": "yes" if all(axis.covers for axis in axes) else "no: holes",
        "strided view": "yes" if all(axis.regular for axis in axes) else "no: use extract",
    }
    cells = "".join(
        f"<tr><th style='text-align:left;padding:2px 8px'>{name}</th>"
        f"<td style='text-align:left;padding:2px 8px'>{value}</td></tr>"
        for name, value in rows.items()
    )
    drawn = (
        f"<div style='font-size:85%;opacity:.7'>last two of {len(axes)} axes</div>"
        if len(axes) > 2
        else ""
    )
    return (
        "<div style='display:flex;gap:24px;align-items:center;flex-wrap:wrap'>"
        f"<div><code>{html.escape(title)}</code><table style='margin-top:6px'>{cells}</table></div>"
        f"<div>{_svg(axes)}{drawn}</div></div>"
    )


def _svg(axes: Sequence[AxisGrid]) -> str:
    across = axes[-1]
    down = axes[-2] if len(axes) > 1 else whole_axis(1)
    x0, x1 = _span(across)
    y0, y1 = _span(down)
    scale = _ROOM / max(x1 - x0, y1 - y0)
    # a long thin image would vanish, so an axis never shrinks below a visible strip
    sx, sy = (max(scale, 18.0 / (x1 - x0)), max(scale, 18.0 / (y1 - y0)))
    width, height = (x1 - x0) * sx, (y1 - y0) * sy

    def box(x: float, y: float, w: float, h: float, style: str) -> str:
        left, top = (x - x0) * sx + 4, (y - y0) * sy + 4
        return f"<rect x='{left:.1f}' y='{top:.1f}' width='{w * sx:.1f}' height='{h * sy:.1f}' {style}/>"

    parts = [box(0, 0, across.size, down.size, "fill='#fff'")]
    parts += _shading(across, down, box)
    parts.append(box(0, 0, across.size, down.size, "fill='none' stroke='#444' stroke-width='1'"))
    for style, (i, j) in _drawn_patches(down.count, across.count):
        parts.append(box(across.start(j), down.start(i), across.extent, down.extent, style))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width + 8:.0f}' height='{height + 8:.0f}'"
        f" role='img' aria-label='patches on the image, darker where more of them overlap'>{''.join(parts)}</svg>"
    )


def _span(axis: AxisGrid) -> tuple[int, int]:
    return min(0, axis.start(0)), max(axis.size, axis.end)


def _shading(across: AxisGrid, down: AxisGrid, box: object) -> list[str]:
    """Cells of the image, darker where more patches overlap; sampled, so any size is quick."""
    assert callable(box)
    xs, ys = _samples(across), _samples(down)
    most = max(n for *_, n in xs) * max(n for *_, n in ys)
    cells = []
    for y, h, m in ys:
        for x, w, n in xs:
            shade = m * n / most if most else 0
            style = (
                f"fill='#2b7bba' fill-opacity='{0.12 + 0.6 * shade:.2f}'"
                if shade
                else "fill='#f6c9c1'"
            )
            cells.append(box(x, y, w, h, style))
    return cells


def _samples(axis: AxisGrid) -> list[tuple[float, float, int]]:
    n = min(_CELLS, axis.size)
    width = axis.size / n
    return [(k * width, width, len(axis.touching(int((k + 0.5) * width)))) for k in range(n)]


def _drawn_patches(rows: int, columns: int) -> list[tuple[str, tuple[int, int]]]:
    plain = "fill='none' stroke='#c2410c' stroke-width='1' stroke-dasharray='3 2'"
    bold = "fill='#f97316' fill-opacity='0.25' stroke='#c2410c' stroke-width='1.5'"
    near = {(0, 1), (1, 0)} & {(i, j) for i in range(min(2, rows)) for j in range(min(2, columns))}
    last = {(rows - 1, columns - 1)} - {(0, 0)}
    return [(plain, at) for at in sorted(near | last)] + [(bold, (0, 0))]
