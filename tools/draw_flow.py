"""Draw how a photo flows through the stages into docs/images/flow.svg: `python -m tools.draw_flow`.

Boxes stand in two columns and numbered rows; arrows go along points given in the same grid.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from unmask.io import write_text_atomic

_OUT = Path(__file__).parent.parent / "docs" / "images" / "flow.svg"
_WIDTH, _ROW, _TOP = 800, 82, 40
_HALF_HEIGHT = 24
# Centre and half width of a column.
_COLUMNS = {"main": (330, 170), "side": (660, 120)}
_LEFT_LANE = 90

# Column, row, title, what it does.
_BOXES = (
    ("main", 0, "photo", "(H, W, 3) uint8, upright, RGB"),
    ("main", 1, "segmentation", "whole photo: where are masks?"),
    ("main", 2, "verifier", "is this region a mask on a face?"),
    ("main", 3, "landmarks", "98 points, from three views"),
    ("side", 3, "left as it is", "and told of"),
    ("main", 4, "canonical crop", "256 x 256, similarity transform"),
    ("main", 5, "segmentation", "inside the crop: the exact mask"),
    ("side", 5, "gender", "which generator?"),
    ("main", 6, "loops", "ear loops: found and painted over"),
    ("main", 7, "window", "192 x 192, the hole is the mask and 4 px"),
    ("main", 8, "prior", "linear: a blurred first completion"),
    ("main", 9, "coarse network", "corrects it at 64 x 64"),
    ("main", 10, "generator", "adds what is missing"),
    ("main", 11, "result", "(H, W, 3), feathered, colour and grain matched"),
)


def _y(row: float) -> float:
    return _TOP + row * _ROW


def _box(column: str, row: int, title: str, text: str) -> str:
    x, half = _COLUMNS[column]
    y = _y(row)
    return (
        f'<rect x="{x - half}" y="{y - _HALF_HEIGHT}" width="{2 * half}" '
        f'height="{2 * _HALF_HEIGHT}" rx="8"/>'
        f'<text class="title" x="{x}" y="{y - 4}">{escape(title)}</text>'
        f'<text x="{x}" y="{y + 14}">{escape(text)}</text>'
    )


def _arrow(*points: tuple[float, float], label: str = "", at: tuple[float, float] = (0, 0)) -> str:
    line = f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}"/>'
    return line + (f'<text class="label" x="{at[0]}" y="{at[1]}">{escape(label)}</text>')


def draw_flow() -> str:
    """Return the drawing as SVG."""
    (main, wide), (side, narrow) = _COLUMNS["main"], _COLUMNS["side"]
    edge, side_edge = main + wide, side - narrow
    labels = {2: "a box for each", 3: "if the views agree"}
    arrows = [
        _arrow(
            (main, _y(row) + _HALF_HEIGHT),
            (main, _y(row + 1) - _HALF_HEIGHT),
            label=labels.get(row, ""),
            at=(main + 62, _y(row + 0.5) + 4),
        )
        for row in range(11)
    ]
    gap = (edge + side_edge) / 2
    arrows += [
        _arrow((edge, _y(3)), (side_edge, _y(3)), label="if not", at=(gap, _y(3) - 7)),
        _arrow((edge, _y(4)), (side, _y(4)), (side, _y(5) - _HALF_HEIGHT)),
        _arrow((side, _y(5) + _HALF_HEIGHT), (side, _y(9)), (edge, _y(9)),
               label="told", at=(gap, _y(9) - 7)),
        _arrow((side, _y(9)), (side, _y(10)), (edge, _y(10)),
               label="its weights", at=(gap + 20, _y(10) - 7)),
        _arrow((main - wide, _y(3)), (_LEFT_LANE, _y(3)), (_LEFT_LANE, _y(10)),
               (main - wide, _y(10)), label="drawn as a map", at=(_LEFT_LANE + 4, _y(10) + 18)),
    ]  # fmt: skip
    height = _y(11) + _HALF_HEIGHT + 16
    style = (
        "rect{fill:#eef3fb;stroke:#3f5f9f}"
        "text{font:12px sans-serif;text-anchor:middle;fill:#222}"
        ".title{font-weight:bold;font-size:14px}.label{fill:#555;font-style:italic}"
        "polyline{fill:none;stroke:#3f5f9f;stroke-width:1.5;marker-end:url(#head)}"
    )
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#3f5f9f"/></marker>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" '
        f'width="{_WIDTH}" role="img" aria-label="How a photo flows through the stages">',
        f"<style>{style}</style><defs>{head}</defs>",
        f'<path d="M0,0 H{_WIDTH} V{height:g} H0 z" fill="#fff"/>',
        *arrows,
        *(_box(*box) for box in _BOXES),
        "</svg>\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    write_text_atomic(_OUT, draw_flow())
