"""How long elements of sets were absent: what the backward pass finds is what looking at every read finds."""

from __future__ import annotations

from random import Random
from typing import Any

from checkers.relaxed.identity import identity
from checkers.sets.set_full import _Sets
from histories.history import History
from histories.op import Op


def random_sets(rng: Random) -> History:
    """Additions, some of them repeated or failing, removals and reads of anything, on two keys by four clients."""
    ops: list[Op] = []
    open_: dict[int, tuple[str, int, Any]] = {}
    time, number = 0, 0
    for _ in range(rng.randint(4, 60)):
        time += rng.randint(0, 2)
        process = rng.randrange(4)
        type_: Any = "invoke"
        if process in open_:
            f, key, value = open_.pop(process)
            type_ = "ok" if f == "read" or rng.random() < 0.8 else "fail"
            if f == "read":
                value = rng.sample(range(number + 1), rng.randint(0, number + 1))
        else:
            f, key, value = rng.choice(("add", "read", "remove")), rng.randrange(2), None
            if f != "read":
                value = number if f == "add" and rng.random() < 0.8 else rng.randint(0, number)
                number += f == "add"
            open_[process] = f, key, value
        ops.append(Op(len(ops), time, type_, process, f, key, value, node=f"n{process % 3}"))
    return History(ops)


def absent_by_definition(history: History, found: _Sets) -> dict[int, int]:
    """id of an element -> when the latest read without it was invoked, of those behind its acknowledgement."""
    absent: dict[int, int] = {}
    for invoked, done in history.pairs():
        if invoked.f != "read" or done is None:
            continue
        names = {identity(value) for value in done.value}
        for name, element in found.of_key.get(identity(invoked.key), {}).items():
            if name not in names and element.acknowledged_ns < invoked.time:
                absent[id(element)] = max(absent.get(id(element), -1), invoked.time)
    return absent


def test_absences_are_what_every_read_says() -> None:
    rng, seen = Random("absences"), 0
    for _ in range(300):
        history = random_sets(rng)
        found = _Sets(history)
        found._walk()
        found._find_absences()
        expected = absent_by_definition(history, found)
        for of_key in found.of_key.values():
            for element in of_key.values():
                assert element.absent_ns == expected.get(id(element), -1)
                seen += element.absent_ns >= 0
    assert seen > 100
