"""What the checkers of the end of a run, of sets and of staleness say, by their definitions: every pair of operations is looked at.

And random small histories of registers, counters and sets on a few nodes, with final reads or without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, combinations
from random import Random
from typing import Any, NamedTuple

from checkers.causal.brute import causal_order
from checkers.causal.reads_from import INITIAL, Trace
from checkers.verdict import Validity
from histories.history import History
from histories.op import NEMESIS, Op

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN
UPDATES = ("write", "add", "remove")


class Done(NamedTuple):
    """An operation. end: how it ended, "info" also where it never did. ended: when; after everything where it never did."""

    invoked: Op
    ended: Op | None

    @property
    def end(self) -> str:
        return "info" if self.ended is None else self.ended.type

    @property
    def value(self) -> Any:
        """What was read."""
        return self.ended.value if self.ended is not None else None

    @property
    def node(self) -> str | None:
        return None if self.ended is None else self.ended.node


def random_run(rng: Random, kind: str) -> History:
    """A few updates and reads by three clients on as many nodes, a fault, and mostly final reads of what is mostly the same."""
    ops: list[Op] = []
    open_: dict[int, tuple[str, int, Any]] = {}
    held: dict[int, list[int]] = {0: [], 1: []}
    number = 0

    def emit(type_: Any, process: Any, f: str, key: int | None, value: Any) -> None:
        node = None if process == NEMESIS else f"n{process % 3}"
        ops.append(Op(len(ops), len(ops), type_, process, f, key, value, node=node))

    def answer(key: int, *, is_wild: bool) -> Any:
        values = held[key]
        if kind == "register":
            return rng.choice([None, *values]) if is_wild or not values else values[-1]
        if kind == "counter":
            return sum(values) + (rng.randint(-2, 2) if is_wild else 0)
        shown = [value for value in values if not is_wild or rng.random() < 0.7]
        return shown + ([rng.randint(0, 9)] if is_wild and rng.random() < 0.3 else [])

    def end(process: int, *, is_wild: bool) -> None:
        f, key, value = open_.pop(process)
        draw = rng.random()
        type_ = "ok" if draw < 0.85 else "info" if draw < 0.93 else "fail"
        if f == "read":
            value = answer(key, is_wild=is_wild) if type_ == "ok" else None
        elif type_ == "ok" or (type_ == "info" and rng.random() < 0.5):
            if f == "remove":
                held[key] = [one for one in held[key] if one != value]
            else:
                held[key].append(value)
        emit(type_, process, f, key, value)

    for _ in range(rng.randint(3, 16)):
        process = rng.randrange(3)
        if process in open_:
            end(process, is_wild=rng.random() < 0.3)
            continue
        f, key, value = rng.choice(("read", "add" if kind != "register" else "write")), rng.randrange(2), None
        if f != "read":
            number += 1
            value = rng.randint(-2, 3) if kind == "counter" else number
            if kind == "set" and rng.random() < 0.4:
                f, value = ("remove", rng.randint(1, number)) if rng.random() < 0.8 else ("add", rng.randint(1, number))
        open_[process] = f, key, value
        emit("invoke", process, f, key, value)
    if rng.random() < 0.5:
        for type_ in ("invoke", "info"):
            emit(type_, NEMESIS, "heal", None, None)
    for process in sorted(open_):
        if rng.random() < 0.8:
            end(process, is_wild=False)
    if rng.random() < 0.9:
        is_wild = rng.random() < 0.4
        for key in held:
            for process in range(3):
                if process not in open_ and rng.random() < 0.9:
                    emit("invoke", process, "read", key, None)
                    emit("ok", process, "read", key, answer(key, is_wild=is_wild))
    return History(ops)


def operations(history: History) -> list[Done]:
    return [Done(invoked, ended) for invoked, ended in history.pairs() if invoked.process != NEMESIS]


def final_reads(history: History) -> dict[Any, list[Done]]:
    """By key, the reads that ended ok and began when every fault op and every update had ended."""
    found: dict[Any, list[Done]] = {}
    for read in operations(history):
        if read.invoked.f == "read" and read.end == "ok" and all(_is_over(op, read) for op in _disturbing(history)):
            found.setdefault(read.invoked.key, []).append(read)
    return found


def _disturbing(history: History) -> Iterator[Op]:
    """Fault ops, and the ends of updates; the invocations of those that never ended."""
    yield from (op for op in history if op.process == NEMESIS)
    for done in operations(history):
        if done.invoked.f in UPDATES:
            yield done.ended or done.invoked


def _is_over(op: Op, read: Done) -> bool:
    return op.index < read.invoked.index


def last_on(node: str | None, reads: list[Done]) -> Done:
    """The read of this node that began last."""
    return max((read for read in reads if read.node == node), key=lambda read: read.invoked.index)


def last_reads(history: History) -> Iterator[tuple[Any, Done]]:
    """Of each key and node, the last final read."""
    for key, reads in final_reads(history).items():
        for node in {read.node for read in reads}:
            yield key, last_on(node, reads)


def is_unfinished(history: History) -> bool:
    """A key with updates was not read in the end, or too few clients read."""
    finals = final_reads(history)
    updated = {done.invoked.key for done in operations(history) if done.invoked.f in UPDATES}
    nodes = {done.node for done in operations(history) if done.end == "ok"}
    readers = {read.invoked.process for reads in finals.values() for read in reads}
    return bool(updated - finals.keys()) or len(readers) < max(2, len(nodes))


def convergence(history: History, *, is_set: bool) -> Validity:
    """No two nodes' last final reads of a key differ."""
    last = list(last_reads(history))
    for (key, one), (other_key, other) in combinations(last, 2):
        mine, theirs = (sorted(set(each.value)) if is_set else each.value for each in (one, other))
        if key == other_key and mine != theirs:
            return INVALID
    return UNKNOWN if is_unfinished(history) else VALID


def counters(history: History) -> Validity:
    """Some sum of all acknowledged additions and of some of unknown outcome is no more than the value, and another no less."""
    for key, read in last_reads(history):
        of_key = [done for done in operations(history) if done.invoked.f == "add" and done.invoked.key == key]
        certain = sum(done.invoked.value for done in of_key if done.end == "ok")
        sums = [certain + sum(some) for some in subsets([done.invoked.value for done in of_key if done.end == "info"])]
        if not min(sums) <= read.value <= max(sums):
            return INVALID
    return UNKNOWN if is_unfinished(history) else VALID


def subsets(values: list[int]) -> Iterable[tuple[int, ...]]:
    return chain.from_iterable(combinations(values, size) for size in range(len(values) + 1))


def registers(history: History, trace: Trace) -> Validity:
    """No acknowledged write follows the one that a last final read returned: the initial value is followed by all of them, and a
    write by those of which it is a cause."""
    if trace.baseless:
        return INVALID
    if not any(trace.reads):
        return UNKNOWN
    causes = causal_order(trace)
    if any(node in causes[node] for node in range(len(trace))):
        return UNKNOWN
    nodes = {index: node for node, index in enumerate(trace.op_index)}
    acknowledged = [node for node, index in enumerate(trace.op_index) if history[index].type == "ok"]
    for key, read in last_reads(history):
        number = trace.keys.index(key)
        assert read.ended is not None
        for of_key, writer in trace.reads[nodes[read.ended.index]]:
            for newer in acknowledged:
                follows = writer == INITIAL or writer in causes[newer]
                if of_key == number and number in trace.writes[newer] and newer != writer and follows:
                    return INVALID
    return UNKNOWN if is_unfinished(history) else VALID


def set_counts(history: History) -> dict[str, int]:
    """How many elements, by key and value, are what."""
    done = operations(history)
    adds = [each for each in done if each.invoked.f == "add"]
    reads = [each for each in done if each.invoked.f == "read" and each.end == "ok"]
    removals = [each for each in done if each.invoked.f == "remove" and each.end != "fail"]
    found: dict[str, set[Any]] = {
        name: set() for name in ("lost", "resurrected", "unexpected", "duplicated", "stale", "never_read")
    }
    for read in reads:
        assert read.ended is not None
        for value in read.value:
            name = read.invoked.key, value
            of_value = [add for add in adds if (add.invoked.key, add.invoked.value) == name]
            if read.value.count(value) > 1:
                found["duplicated"].add(name)
            tried = [add for add in of_value if add.invoked.index < read.ended.index]
            refused = [add for add in tried if add.end == "fail" and add.ended and add.ended.index < read.ended.index]
            if not tried or (len(tried) == 1 and refused) or _failed_later(of_value, tried):
                found["unexpected"].add(name)
    finals = list(last_reads(history))
    for name in {(add.invoked.key, add.invoked.value) for add in adds}:
        of_value = [add for add in adds if (add.invoked.key, add.invoked.value) == name]
        of_key = [read for read in reads if read.invoked.key == name[0]]
        if any(add.end == "ok" for add in of_value) and not any(_counts(read, of_value, name[1]) for read in of_key):
            found["never_read"].add(name)
        if len(of_value) > 1:
            continue
        (add,) = of_value
        gone = [
            each
            for each in removals
            if (each.invoked.key, each.invoked.value) == name and (each.end == "info" or not _follows(add, each))
        ]
        seen = [each for each in gone if each.end == "ok" and _had_seen(each, add, of_key)]
        in_the_end = [read for key, read in finals if key == name[0]]
        if add.end == "ok" and not gone and any(name[1] not in read.value for read in in_the_end):
            found["lost"].add(name)
        if add.end == "ok" and not gone and any(name[1] not in read.value and _follows(read, add) for read in of_key):
            found["stale"].add(name)
        if seen and any(name[1] in read.value for read in in_the_end):
            found["resurrected"].add(name)
        for removal in seen:
            again = [read for read in of_key if read.node == removal.node and _follows(read, removal)]
            if any(name[1] in read.value for read in again):
                found["resurrected"].add(name)
    return {name: len(each) for name, each in found.items()}


def _failed_later(adds: list[Done], tried: list[Done]) -> bool:
    """The one addition that had been tried failed before another one was."""
    if len(tried) > 1 or tried[0].end != "fail" or tried[0].ended is None:
        return False
    end = tried[0].ended.index
    return not any(add.invoked.index < end for add in adds if add is not tried[0])


def _counts(read: Done, adds: list[Done], value: Any) -> bool:
    """The read returned the value, which somebody had added."""
    assert read.ended is not None
    tried = [add for add in adds if add.invoked.index < read.ended.index]
    refused = [add for add in tried if add.end == "fail" and add.ended and add.ended.index < read.ended.index]
    return value in read.value and bool(tried) and not (len(tried) == 1 and refused)


def _follows(read: Done, op: Done) -> bool:
    return op.ended is not None and op.ended.time < read.invoked.time


def _had_seen(removal: Done, add: Done, reads: list[Done]) -> bool:
    """The node that removed it had returned or acknowledged it before."""
    shown = [each for each in reads if add.invoked.value in each.value and _counts(each, [add], add.invoked.value)]
    told = [*shown, *([add] if add.end == "ok" else [])]
    return any(
        each.node == removal.node and each.ended is not None and each.ended.time < removal.invoked.time for each in told
    )


def ages(history: History, trace: Trace) -> list[tuple[int, int]]:
    """Age and lag of each read, in the order of the trace."""
    by_index = {op.index: done for done in operations(history) for op in done if op is not None}
    writes = [done for done in operations(history) if done.invoked.f == "write" and done.ended and done.end == "ok"]
    found = []
    for node, reads in enumerate(trace.reads):
        read_ns = by_index[trace.op_index[node]].invoked.time
        for key, writer in reads:
            of_key = [write for write in writes if write.invoked.key == trace.keys[key]]
            source = None if writer == INITIAL else by_index[trace.op_index[writer]]
            if source is not None and source.end != "ok":
                found.append((0, 0))
                continue
            since_ns = -1 if source is None or source.ended is None else source.ended.time
            newer = [each for each in of_key if each.invoked.time > since_ns and _ended_ns(each) < read_ns]
            under_way = [each for each in of_key if each.invoked.time <= since_ns and _ended_ns(each) >= read_ns]
            age = read_ns - min(map(_ended_ns, newer)) if newer else 0
            found.append((age, max(1, len(newer) - len(under_way)) if newer else 0))
    return found


def _ended_ns(done: Done) -> int:
    assert done.ended is not None
    return done.ended.time
