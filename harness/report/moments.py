"""What an explanation of a failure consists of, as data, and the words that all its sentences share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from checkers.custody import Custody, NodeCustody
from harness.report.failure import FailureOp
from histories.printing import line, value
from histories.units import NS_PER_MS, NS_PER_S

NODE_MAX = 60
"""Characters of a node's name, here and in the rows of a page: they are compared."""

MomentKind = Literal["fault", "op", "role", "loss", "node", "wrong"]


class Moment(msgspec.Struct, frozen=True):
    """One thing that bears on the failure. head: a few words. words: a sentence or two. op: the `invoke` of the operation that it
    is about. is_grave: it is where data was lost, or what is wrong."""

    time_ns: int
    kind: MomentKind
    head: str
    words: str
    node: str | None = None
    op: int | None = None
    tag: str = ""
    is_grave: bool = False


class Card(msgspec.Struct, frozen=True):
    """The answer to one of a newcomer's questions. time_ns, op: where to look."""

    question: str
    answer: str
    detail: str = ""
    time_ns: int | None = None
    op: int | None = None
    is_grave: bool = False


class ServedAt(msgspec.Struct, frozen=True):
    """Which node answered an operation, and when. op: its `invoke`."""

    op: int
    node: str
    time_ns: int


class Explanation(msgspec.Struct, frozen=True):
    """What a reader sees first. headline: one sentence. moments: in order of time. write: the `invoke` of the acknowledged
    operation that `custody` follows. is_lost: no node held it any more when the failure showed. held, holding: what the nodes' rows
    follow, in words, and who held it from when to when."""

    headline: str
    cards: tuple[Card, ...]
    moments: tuple[Moment, ...]
    write: int | None = None
    custody: Custody | None = None
    served: tuple[ServedAt, ...] = ()
    is_lost: bool = False
    held: str = ""
    holding: dict[str, NodeCustody] = {}


def seconds(time_ns: int) -> str:
    """`2.589 s`."""
    return f"{time_ns / 1e9:.3f} s"


def operation(op: FailureOp) -> str:
    """`write 43`, `read`."""
    return line(op.f, 30) + ("" if op.argument is None else f" {value(op.argument, 40)}")


def listed(names: Iterable[str]) -> str:
    """`n1`, `n1 and n2`, `n1, n2 and n3`."""
    words = [line(name, 30) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "no node"


def have(names: Sequence[str]) -> str:
    """`n1 has`, `n1 and n2 have`."""
    return f"{listed(names)} {'has' if len(names) == 1 else 'have'}"


def ago(span_ns: int) -> str:
    """`20.1 s`, `650 ms`, `1.5 ms`."""
    if span_ns >= NS_PER_S:
        return f"{span_ns / NS_PER_S:.1f} s"
    return f"{span_ns / NS_PER_MS:.0f} ms" if span_ns >= 10 * NS_PER_MS else f"{span_ns / NS_PER_MS:.1f} ms"


def wrong_head(op: FailureOp) -> str:
    """What the operation that does not fit claims, in a few words."""
    if op.type != "ok":
        return f"{operation(op)} does not fit"
    return f"{operation(op)} returns {value(op.result, 40)}" if op.argument is None else f"{operation(op)} done"
