"""The shapes that maps have in a file, as one regular expression: hundreds of maps are taken apart in one call.

A shape is the keys of a map in their order. A file repeats few of them a million times; two that only lack keys of each
other are one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import add

import msgspec

# Values of the usual kinds: words, numbers, strings, and vectors of them three deep, which is what transactions need
# ([[:r 1 [2 3]] [:append 1 4]]). No braces, so a map never seems to go on in the next one; no comments, so each text
# read alone means what it means in its place. Possessive, so never slow.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ATOM = r"""[^\s,()\[\]{}"\\;\#@^`~]++"""
_FLAT = rf"""(?:[^\[\]{{}}()"\\;\#]++|{_STRING})"""
_PAIRS = rf"""(?:{_FLAT}|\[{_FLAT}*+\])"""
ANY_VALUE = rf"""{_ATOM}|{_STRING}|\[(?:{_FLAT}|\[{_PAIRS}*+\])*+\]"""
_COUNT = "0|[1-9][0-9]{0,17}+"
_VALUE_OF = {"index": _COUNT, "time": _COUNT, "type": _ATOM, "process": _ATOM, "f": f"{_ATOM}|{_STRING}"}

Row = tuple[str, ...]
"""What the groups of the expression hold for one map."""


class Shape(msgspec.Struct, frozen=True):
    """Maps with these keys in this order, of which the required ones are always there."""

    names: Row
    required: frozenset[str]

    def merged(self, other: Shape) -> Shape | None:
        """The maps of both shapes; None when they order keys differently."""
        common = [name for name in other.names if name in self.names]
        if common != [name for name in self.names if name in other.names]:
            return None
        names: list[str] = []
        rest = list(self.names)
        for name in other.names:
            if name in self.names:
                end = rest.index(name) + 1
                names += rest[:end]
                del rest[:end]
            else:
                names.append(name)
        return Shape((*names, *rest), self.required & other.required)

    def expression(self, blank: str, comma: str) -> str:
        """Of what is between the braces; a group for each name. blank: behind a key; comma: behind a value."""
        pairs: list[str] = []
        behind = rf"(?:{comma}|(?=\}}))"
        for name in reversed(self.names):
            pair = rf":{re.escape(name)}{blank}({_VALUE_OF.get(name, ANY_VALUE)}){behind}"
            pairs.append(pair if name in self.required else f"(?:{pair})?")
            if name in self.required:
                behind = comma  # Before a key that is always there no map ends.
        return "".join(reversed(pairs))


def with_shape(shapes: Sequence[Shape], other: Shape) -> list[Shape]:
    """As few shapes as can be for the maps of all of these."""
    for position, shape in enumerate(shapes):
        if merged := shape.merged(other):
            return [*shapes[:position], merged, *shapes[position + 1 :]]
    return [*shapes, other]


BLANKS = " "
"""The column of what stands before the maps: no keyword has this name."""


class Pattern:
    """Maps of any of these shapes. At least one."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes
        self.compiled = self._compiled(r"[\s,]++", r"[\s,]++")
        self._as_printed = self._compiled(" ", ", ")  # As Clojure prints, and a third faster.
        self._groups: dict[str, list[int]] = {BLANKS: [0]}
        for group, name in enumerate((name for shape in self.shapes for name in shape.names), 1):
            self._groups.setdefault(name, []).append(group)

    def _compiled(self, blank: str, comma: str) -> re.Pattern[str]:
        insides = "|".join(shape.expression(blank, comma) for shape in self.shapes)
        # What fits no shape is taken as a whole, up to the end: so nothing between two maps is ever passed over.
        return re.compile(rf"([\s,]*+)(?:\#[A-Za-z][\w.]*+\s*+)?\{{[\s,]*+(?:{insides})\}}|(.+)", re.DOTALL)

    def rows(self, text: str, start: int, stop: int) -> list[Row]:
        """The groups of maps from start on; the last row's last one is the rest, from the first other text on."""
        rows: list[Row] = self._as_printed.findall(text, start, stop)
        return rows if len(rows[0][-1]) < stop - start else self.compiled.findall(text, start, stop)

    def columns(self, rows: list[Row]) -> dict[str, Sequence[str]]:
        """Name -> its text in each row, "" where it has none."""
        columns = list(zip(*rows, strict=True))
        found: dict[str, Sequence[str]] = {}
        for name, groups in self._groups.items():
            texts: Sequence[str] = columns[groups[0]]
            for group in groups[1:]:
                texts = list(map(add, texts, columns[group]))  # A row has but one shape: the others' texts are "".
            found[name] = texts
        return found
