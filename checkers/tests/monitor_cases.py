"""The monitors under test: their models, random histories for them, and what must hold of every decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import msgspec

from checkers import brute
from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.monitors.monitor import Decision, Twins
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find
from checkers.tests.monitor_histories import Invent, Mix, SetMix, collection, front, history, members, set_of
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History

COLLECTION_MIXES = (
    Mix(),
    Mix(wrong=0.35, twice=0),
    Mix(wrong=0.35, peek=4, crashed=0, twice=0),
    Mix(wrong=0.3, peek=0, crashed=0.35, twice=0, take=6),
    Mix(wrong=0.02, peek=0, crashed=0.4, twice=0, refused=0.1),
    Mix(wrong=0.2, peek=0, crashed=0, twice=0),
    Mix(wrong=0.2, peek=0, crashed=0.2, twice=0, take=8),
)

PEEKED_MIXES = (
    Mix(peek=6, crashed=0, twice=0, wrong=0.15, refused=0),
    Mix(peek=3, crashed=0, twice=0, refused=0, take=5, eager=0.6),
    Mix(peek=4, twice=0, take=5),
    Mix(peek=3, crashed=0.25, twice=0, wrong=0.05, take=6, eager=0.6),
)

REPEATED_MIXES = tuple(
    Mix(peek=peek, crashed=crashed, twice=twice, wrong=wrong, refused=0.02, take=take, eager=eager)
    for peek, crashed in ((0, 0), (0, 0), (0.5, 0.1))
    for twice in (0.5, 0.9)
    for wrong in (0.02, 0.15)
    for take in (4, 6)
    for eager in (0.2, 0.6)
)

SET_MIXES = tuple(
    SetMix(crashed=crashed, wrong=wrong, add=add, remove=remove, contains=contains, read=read, value_count=value_count)
    for crashed in (0, 0.1, 0.4)
    for wrong in (0.05, 0.2, 0.4)
    for add, remove, contains, read, value_count in (
        (4, 2, 4, 0, 2),
        (4, 0, 3, 3, 2),
        (4, 0, 3, 4, 3),
        (4, 0, 1, 4, 0),
        (4, 3, 4, 0, 0),
        (1, 1, 6, 0, 1),
        (2, 1, 4, 1, 3),
    )
)


def prioritized(_: Random, number: int) -> Any:
    """The n-th value of a priority queue: numbers and pairs, with equal priorities."""
    return [number * 7919 % 3, number] if number % 2 else number * 31 % 17 * 100 + number


class Case(msgspec.Struct, frozen=True):
    """One model and how its histories are made."""

    model: Model
    mixes: Sequence[Any]
    invent: Callable[[Any], Invent]
    answers: Callable[..., Any]

    def history(self, seed: int, operations: int, processes: int, wrong: float = 1.0) -> Entries:
        """A random history of the seed. wrong: factor of the mix's share of wrong answers."""
        rng = Random(seed)
        mix = rng.choice(self.mixes)
        mix = msgspec.structs.replace(mix, wrong=mix.wrong * wrong)
        made = history(
            self.model,
            self.invent(mix),
            mix,
            rng,
            operations=rng.randint(2, operations),
            processes=rng.randint(1, processes),
            answers=self.answers,
        )
        return entries(made, refused=rng.random() < 0.5)

    @property
    def twins(self) -> Twins:
        """The model's monitors."""
        twins = monitor_of(self.model)
        assert twins is not None
        return twins


CASES: dict[str, Case] = {
    "queue": Case(
        find("fifo-queue"), COLLECTION_MIXES, lambda mix: collection("enqueue", "dequeue", mix), front("enqueue")
    ),
    "priority queue": Case(
        find("priority-queue"),
        COLLECTION_MIXES,
        lambda mix: collection("enqueue", "dequeue", mix, prioritized),
        front("enqueue"),
    ),
    "stack": Case(
        find("lifo-stack"),
        (*COLLECTION_MIXES, *PEEKED_MIXES),
        lambda mix: collection("push", "pop", mix),
        front("push"),
    ),
    "set": Case(find("set"), SET_MIXES, set_of, members),
}

REPEATED: dict[str, Case] = {
    name: msgspec.structs.replace(CASES[name], mixes=REPEATED_MIXES) for name in ("queue", "priority queue")
}
"""Those that put values in more than once."""

BY_HAND: dict[str, tuple[History, ...]] = {
    "queue": (
        # 2 and 3 were gone before 1 was peeked at, although their dequeues returned later.
        h(
            "p0 invoke enqueue 1 | p1 invoke enqueue 2 | p1 ok enqueue 2 | p1 invoke enqueue 3 | p1 ok enqueue 3 |"
            "p2 invoke dequeue | p3 invoke dequeue | p0 ok enqueue 1 | p0 invoke peek | p0 ok peek 1 |"
            "p2 ok dequeue 2 | p3 ok dequeue 3 | p0 invoke dequeue | p0 ok dequeue 1"
        ),
        # One crashed dequeue cannot take 1 before the queue is empty and 2 before 3 is at the front.
        h(
            "p0 invoke enqueue 1 | p0 ok enqueue 1 | p1 invoke dequeue | p0 invoke dequeue | p0 ok dequeue null |"
            "p0 invoke enqueue 2 | p0 ok enqueue 2 | p0 invoke enqueue 3 | p0 ok enqueue 3 |"
            "p0 invoke dequeue | p0 ok dequeue 3"
        ),
        # The same with two: 2 is taken in time.
        h(
            "p0 invoke enqueue 1 | p0 ok enqueue 1 | p1 invoke dequeue | p2 invoke dequeue | p0 invoke dequeue |"
            "p0 ok dequeue null | p0 invoke enqueue 2 | p0 ok enqueue 2 | p0 invoke enqueue 3 | p0 ok enqueue 3 |"
            "p0 invoke dequeue | p0 ok dequeue 3"
        ),
    ),
    "stack": (
        # 2 may have been pushed before 1, so nothing had to pop it before 1 was popped.
        h(
            "p0 invoke push 1 | p1 invoke push 2 | p0 ok push 1 | p1 ok push 2 | p0 invoke pop | p0 ok pop 1 | p0 invoke pop"
        ),
        # The same: 2 may have been pushed after 1 was popped.
        h(
            "p0 invoke push 1 | p0 ok push 1 | p1 invoke push 2 | p0 invoke pop | p1 ok push 2 | p0 ok pop 1 | p0 invoke pop"
        ),
        # 2 is above 1, so it is popped before 1 is, and no pop was called by then.
        h(
            "p0 invoke push 1 | p0 ok push 1 | p0 invoke push 2 | p0 ok push 2 | p0 invoke pop | p0 ok pop 1 | p0 invoke pop"
        ),
        # 3 and 4 may be pushed before 1, and then nothing need pop them; the order that is tried first has them above 1, where one
        # crashed pop is not enough.
        h(
            "p0 invoke push 1 | p1 invoke push 2 | p1 ok push 2 | p1 invoke pop | p1 ok pop 2 | p1 invoke push 3 | p1 ok push 3 |"
            "p1 invoke push 4 | p1 ok push 4 | p0 ok push 1 | p2 invoke pop | p0 invoke pop | p0 ok pop 1"
        ),
        # 1 is popped before 3 is pushed, and 2 before 1: the crashed pop comes too late. The monitor does not see it and must not
        # say that it fits.
        h(
            "p0 invoke push 1 | p0 ok push 1 | p0 invoke push 2 | p0 ok push 2 | p1 invoke pop | p0 invoke push 3 |"
            "p0 ok push 3 | p2 invoke pop | p1 ok pop 1 | p0 invoke pop | p0 ok pop 3"
        ),
    ),
    "stack, peeked at": (
        # 1 is at the bottom, but the peek at it says that 2 is out, and 2 is in all the time.
        h(
            "p0 invoke push 1 | p0 ok push 1 | p0 invoke push 2 | p0 ok push 2 | p1 invoke peek | p1 ok peek 1 |"
            "p0 invoke pop | p0 ok pop 2 | p0 invoke pop | p0 ok pop 1"
        ),
        # 1 and 2 may both be at the bottom; only with 2 there do both peeks fit.
        h(
            "p0 invoke push 1 | p1 invoke push 2 | p0 ok push 1 | p1 ok push 2 | p2 invoke peek | p2 ok peek 1 |"
            "p0 invoke pop | p1 invoke pop | p0 ok pop 1 | p2 invoke peek | p2 ok peek 2 | p1 ok pop 2"
        ),
        # Each of 1 and 2 is on top once in the middle, where both are in: one of them is below the other.
        h(
            "p0 invoke push 1 | p1 invoke push 2 | p0 ok push 1 | p1 ok push 2 | p2 invoke peek | p2 ok peek 1 |"
            "p2 invoke peek | p2 ok peek 2 | p0 invoke pop | p1 invoke pop | p0 ok pop 1 | p1 ok pop 2"
        ),
        # 2 was gone before 1 was peeked at, and the crashed pop took it.
        h(
            "p0 invoke push 1 | p0 ok push 1 | p0 invoke push 2 | p0 ok push 2 | p1 invoke pop | p0 invoke peek | p0 ok peek 1 |"
            "p0 invoke pop | p0 ok pop 1"
        ),
        # 3 was pushed by a crashed operation, as the peek says; what then found the stack empty came when no pop was called.
        h("p2 invoke push 3 | p1 invoke peek | p1 ok peek 3 | p0 invoke peek | p0 ok peek null | p1 invoke pop"),
    ),
    "set": (
        # Neither read shows all that the other does.
        h(
            "p0 invoke add 1 | p1 invoke add 2 | p2 invoke read | p3 invoke read | p2 ok read [1] | p3 ok read [2] |"
            "p0 ok add 1 | p1 ok add 2"
        ),
        h(
            "p0 invoke add 1 | p1 invoke add 2 | p2 invoke read | p3 invoke read | p2 ok read [1] | p3 ok read [2,1] |"
            "p0 ok add 1 | p1 ok add 2"
        ),
    ),
}
"""Histories that chance does not find soon enough. What stands behind a comma only tells them apart."""

REPEATED_BY_HAND = (
    # The crashed dequeue took the first 1, so 2 came out before the second one.
    h(
        "p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke enqueue 2 | p0 ok enqueue 2 | p0 invoke enqueue 1 | p0 ok enqueue 1 |"
        "p1 invoke dequeue | p0 invoke dequeue | p0 ok dequeue 2 | p0 invoke dequeue | p0 ok dequeue 1"
    ),
    # The crashed enqueue of 1 came before that of 2, and the completed one behind it.
    h(
        "p1 invoke enqueue 1 | p0 invoke enqueue 2 | p0 ok enqueue 2 | p0 invoke enqueue 1 | p0 ok enqueue 1 |"
        "p0 invoke dequeue | p0 ok dequeue 1 | p0 invoke dequeue | p0 ok dequeue 2 | p0 invoke dequeue | p0 ok dequeue 1"
    ),
)
"""The same of REPEATED["queue"]."""


def refute(part: Entries, model: Model, decision: Decision) -> str | None:
    """None when the decision is right, by brute force; else what is wrong with it. UNKNOWN is never wrong."""
    if decision.validity is Validity.UNKNOWN:
        return None if decision.reason else "undecided without a reason"
    is_valid = brute.linearization(part[:], model) is not None
    if is_valid != (decision.validity is Validity.VALID):
        return f"brute force says {'valid' if is_valid else 'invalid'}"
    if is_valid:
        return verify(part, model, decision.linearization)
    core = [part[position] for position in decision.core]
    return "the core is linearizable" if brute.linearization(core, model) is not None else None


def answer(decision: Decision) -> tuple[Any, ...]:
    """What both twins must agree on."""
    return decision.validity, decision.reason, list(decision.linearization), list(decision.core)


def in_words(part: Entries) -> Iterator[str]:
    """The entries, one a line, for whoever reads a failure."""
    for position, entry in enumerate(part):
        o = entry.operation
        yield f"{position}: [{entry.call}, {entry.ret}] {o.f} {o.argument!r} -> {o.result!r} refused={o.is_refused}"
