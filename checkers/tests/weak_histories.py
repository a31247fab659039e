"""Random small histories of reads and writes of distinct values, on a few keys by a few clients."""

from __future__ import annotations

from random import Random
from typing import Any

from histories.history import History
from histories.op import Op


def random_history(rng: Random, *, ops_max: int = 6, keys: int = 2, processes: int = 3) -> History:
    """Operations one after another or overlapping; reads return something that somebody writes, mostly the latest or nearly so."""
    count = rng.randint(2, ops_max)
    keys, processes = rng.randint(1, keys), rng.randint(1, processes)
    ops: list[Op] = []
    written: dict[int, list[int]] = {key: [] for key in range(keys)}
    open_: dict[int, Op] = {}
    dead: set[int] = set()
    is_wild = rng.random() < 0.3

    def emit(type_: Any, process: int, f: str, key: int, value: Any) -> Op:
        op = Op(len(ops), len(ops), type_, process, f, key, value)
        ops.append(op)
        return op

    def end(process: int) -> None:
        invoked = open_.pop(process)
        values = [None, *written[invoked.key]]
        recent = values[-3:]
        value = invoked.value
        if invoked.f == "read":
            value = rng.choice(values if is_wild else recent)
        draw = rng.random()
        type_ = "info" if draw < 0.05 else "fail" if draw < 0.1 and invoked.f != "write" else "ok"
        emit(type_, process, invoked.f, invoked.key, value if type_ == "ok" else invoked.value)
        if type_ == "info":
            dead.add(process)

    number = 0
    while number < count:
        free = [p for p in range(processes) if p not in open_ and p not in dead]
        if not free or (open_ and rng.random() < 0.6):
            if not open_:
                break
            end(rng.choice(sorted(open_)))
            continue
        process, key = rng.choice(free), rng.randrange(keys)
        number += 1
        draw = rng.random()
        if draw < 0.5:
            open_[process] = emit("invoke", process, "read", key, None)
        else:
            value = number * 10 + key
            if draw < 0.9:
                open_[process] = emit("invoke", process, "write", key, value)
            else:
                seen = [None, *written[key]]
                old = rng.choice(seen if is_wild else seen[-2:])
                open_[process] = emit("invoke", process, "cas", key, [old, value])
            written[key].append(value)
    while open_:
        end(rng.choice(sorted(open_)))
    return History(ops)
