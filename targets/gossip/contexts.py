"""Which updates somebody has: dots, and sets of dots.

Every update has a *dot*, the actor that took it and a number that this actor counts up. An actor is a node, under its own name, or
after a restore "name#number of the restore": a node that was given old data back must not give its dots a second time. A context is
a set of dots, kept as a version vector, which has all dots up to a number of each actor, and the dots beyond it (Preguiça et al.,
dotted version vectors, 2010).
"""

from __future__ import annotations

import msgspec

from targets.core import NodeId

Actor = str
Dot = tuple[Actor, int]
"""Of an actor, and a number from 1."""


def node_of(actor: Actor) -> NodeId:
    """The node that is, or was, this actor."""
    return actor.partition("#")[0]


def restores_of(actor: Actor) -> int:
    """The number of the restore that made this actor; 0 for a node that was never restored, and for what is no actor's name."""
    number = actor.partition("#")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A set of dots, as messages and records carry it. vector: node -> all dots up to this number. dots: the others, sorted."""

    vector: dict[NodeId, int] = {}
    dots: tuple[Dot, ...] = ()


EMPTY = Context()


class Seen:
    """A set of dots that grows."""

    __slots__ = ("dots", "vector")

    def __init__(self, context: Context = EMPTY) -> None:
        self.vector: dict[NodeId, int] = dict(context.vector)
        self.dots: set[Dot] = set(context.dots)

    def __contains__(self, dot: object) -> bool:
        assert isinstance(dot, tuple)
        return self.vector.get(dot[0], 0) >= dot[1] or dot in self.dots

    def covers(self, context: Context) -> bool:
        """Whether every dot of the context is here."""
        return all(
            self.vector.get(node, 0) >= number
            or all((node, each) in self.dots for each in range(self.vector.get(node, 0) + 1, number + 1))
            for node, number in context.vector.items()
        ) and all(dot in self for dot in context.dots)

    def add(self, dot: Dot) -> None:
        """It is here from now on."""
        self.dots.add(dot)
        self._compact()

    def join(self, context: Context) -> None:
        """All its dots are here from now on."""
        for node, number in context.vector.items():
            if number > self.vector.get(node, 0):
                self.vector[node] = number
        self.dots.update(context.dots)
        self._compact()

    def _compact(self) -> None:
        for node, number in sorted(self.dots):
            have = self.vector.get(node, 0)
            if number == have + 1:
                self.vector[node] = number
            if number <= have + 1:
                self.dots.discard((node, number))

    def context(self) -> Context:
        """The set as it is now."""
        return Context(dict(sorted(self.vector.items())), tuple(sorted(self.dots)))
