"""A comparison as one SVG picture: for each subject, what each side of a partition served, and the strongest model that it kept."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from harness.campaign.comparison import Compared

LEFT, WIDTH, RIGHT = 250, 400, 190
"""Of the names, the bars, and the models: in pixels, as everything here."""
ROW, BAR, TOP, LINE = 64, 16, 70, 14
"""Of a subject, a bar, the head, and a line of text."""
LABEL = 56
"""What the longest share takes. A shorter bar has its share beside it."""
SIDES = (("majority", "#3b6ea5"), ("minority", "#d98032"))


def picture(rows: Sequence[Compared], nemesis: str, env: str) -> str:
    """The text of an SVG file: a bar for each side of each subject. A side that was asked nothing has no bar, and says so."""
    height = TOP + ROW * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(10, 24, f"Operations served while a partition was in force ({nemesis}, {env})", "font-size='16'"),
        *_legend(),
        *_scale(height),
    ]
    for number, row in enumerate(rows):
        parts += _row(row, TOP + number * ROW)
    return "\n".join((*parts, "</svg>")) + "\n"


def _legend() -> list[str]:
    found = []
    for number, (side, colour) in enumerate(SIDES):
        x = 10 + number * 130
        found += [f'<rect x="{x}" y="36" width="12" height="12" fill="{colour}"/>', _text(x + 18, 47, f"{side} side")]
    return [*found, _text(LEFT + WIDTH + 12, 47, "strongest model kept")]


def _scale(height: int) -> list[str]:
    found = []
    for percent in (0, 25, 50, 75, 100):
        x = LEFT + WIDTH * percent // 100
        found += [
            f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - 26}" stroke="#dddddd"/>',
            _text(x, height - 10, f"{percent}%", "text-anchor='middle'"),
        ]
    return found


def _row(row: Compared, y: int) -> list[str]:
    found = [_text(10, y + 22, row.subject.name)]
    kept = row.kept()
    first_y, size = y + 22 - LINE * (len(kept) - 1) // 2, "font-size='12'"
    found += [_text(LEFT + WIDTH + 12, first_y + LINE * number, model, size) for number, model in enumerate(kept)]
    for number, (side, colour) in enumerate(SIDES):
        share, top = row.sides[side].value, y + number * (BAR + 3)
        if share is None:
            found.append(_text(LEFT + 4, top + 13, "nothing was asked", "fill='#888888'"))
            continue
        width = round(WIDTH * share)
        x, ink = (LEFT + 4, "white") if width >= LABEL else (LEFT + width + 4, "black")
        found += [
            f'<rect x="{LEFT}" y="{top}" width="{width}" height="{BAR}" fill="{colour}"/>',
            _text(x, top + 13, f"{share:.1%}", f"fill='{ink}'"),
        ]
    return found


def _text(x: int, y: int, words: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(words)}</text>'
