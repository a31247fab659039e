"""Rw-register: what reads and writes of registers tell about the order of transactions, when each value is written once.

A read of a value comes after its write. The order of two values of a key is known only where something says it: the initial state
comes before all (always), a value that a transaction read comes before the one that it then wrote (`wfr_keys`), and what one
process (`sequential_keys`) or real time (`linearizable_keys`) shows one after another was in that order. Source: Kingsbury and
Alvaro, Elle, VLDB 2020, §5.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from checkers.transactions.components import components
from checkers.transactions.found import Anomaly, Overtaken, Reason
from checkers.transactions.graph import RW, WR, WW, Graph
from checkers.transactions.reading import FAIL, INFO, OK, Transactions, UnfitTransactions
from histories.printing import quoted
from histories.wellformed import Problem


class Inference(msgspec.Struct, frozen=True):
    """Which assumptions order the values of a key; see the module. What they rule out is ruled out where they hold.

    absent_at_first: no key holds anything before the first write; otherwise one value that nobody wrote may be what it held.
    """

    wfr_keys: bool = False
    sequential_keys: bool = False
    linearizable_keys: bool = False
    absent_at_first: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are made."""
        return tuple(
            name.replace("_", "-")
            for name in ("wfr_keys", "sequential_keys", "linearizable_keys")
            if getattr(self, name)
        )


class Registers:
    """The keys of a history of reads and writes.

    reads, writes: of each transaction, key -> the value that it read before it wrote the key, and the one that it wrote last; an
    undecided transaction has no reads. writer: (key, value) -> who wrote it, where the write may have taken effect. readers:
    the same for reads; None is the initial state. passing: writes that their own transaction replaced. failed: writes of what
    failed.
    """

    def __init__(self, found: Transactions) -> None:
        self.found = found
        self.reads: list[dict[Any, Any]] = []
        self.writes: list[dict[Any, Any]] = []
        self.writer: dict[Any, dict[Any, int]] = {}
        self.readers: dict[Any, dict[Any, list[int]]] = {}
        self.passing: dict[tuple[Any, Any], int] = {}
        self.failed: dict[tuple[Any, Any], int] = {}
        self.repeating: list[int] = []
        self._pass()

    def _pass(self) -> None:
        """Fills the tables. Raises UnfitTransactions where a value is written to a key twice."""
        twice: list[Problem] = []
        kinds = self.found.kind
        writer_of, readers_of = self.writer, self.readers
        for number, steps in enumerate(self.found.steps):
            kind = kinds[number]
            reads: dict[Any, Any] = {}
            writes: dict[Any, Any] = {}
            replaced: list[tuple[Any, Any]] = []
            for step in steps or ():
                key = step[1]
                if step[0] == "r":
                    if kind == OK and key not in writes and key not in reads:
                        reads[key] = step[2] if len(step) > 2 else None
                else:
                    if key in writes:
                        replaced.append((key, writes[key]))
                    writes[key] = step[2]
            if (steps and len(reads) + len(writes) < len(steps)) or not reads.keys().isdisjoint(writes):
                self.repeating.append(number)
            self.reads.append(reads)
            self.writes.append(writes)
            for key, value in (*replaced, *writes.items()) if replaced else writes.items():
                of = writer_of.get(key)
                if of is None:
                    of = writer_of[key] = {}
                if of.setdefault(value, number) != number or (replaced and _count(steps, key, value) > 1):
                    detail = f"{quoted(value)} is written to {quoted(key)} more than once, so that a read cannot tell which it saw"
                    twice.append(Problem(self.found.begin[number], "duplicate-write", detail))
                if kind == FAIL:
                    self.failed[key, value] = number
            for each in replaced:
                self.passing[each] = number
            for key, value in reads.items():
                of_key = readers_of.get(key)
                if of_key is None:
                    of_key = readers_of[key] = {}
                numbers = of_key.get(value)
                if numbers is None:
                    of_key[value] = [number]
                else:
                    numbers.append(number)
        if twice:
            raise UnfitTransactions(twice)

    def initial(self, key: Any, *, is_absent: bool) -> Any:
        """What the key held at first, as its reads show: the one value that nobody wrote, where none read it as absent.

        Where it was no initial value, the read came from nowhere, and whatever forbids a cycle with anti-dependencies forbids that
        too. is_absent: no key held anything at first.
        """
        of_key = self.readers.get(key, {})
        if is_absent or None in of_key:
            return None
        written = self.writer.get(key, {})
        unwritten = [value for value in of_key if value not in written]
        return unwritten[0] if len(unwritten) == 1 else None

    def final_writer(self, key: Any, value: Any) -> int | None:
        """Who installed this value: wrote it, did not fail and did not replace it."""
        if value is None or (key, value) in self.failed or (key, value) in self.passing:
            return None
        return self.writer.get(key, {}).get(value)


def _count(steps: Any, key: Any, value: Any) -> int:
    return sum(1 for step in steps if step[0] == "w" and step[1] == key and step[2] == value)


Order = dict[Any, dict[tuple[Any, Any], tuple[int, ...]]]
"""key -> (value, one that comes after it) -> the transactions that show it."""

Orders = dict[str, Order]
"""What each assumption gives, by its name."""


def analyze(found: Transactions, graph: Graph, inference: Inference) -> tuple[list[Anomaly], RegisterDependencies]:
    """The anomalies that are no cycles, and what explains the edges that were added to the graph. Raises UnfitTransactions."""
    registers = Registers(found)
    anomalies = [*_within(registers), *_dirty(registers, inference), *_lost_updates(registers)]
    asked: Orders = {
        rule: source(registers)
        for rule, is_made, source in (
            ("wfr-keys", inference.wfr_keys, _written_after_read),
            ("sequential-keys", inference.sequential_keys, _by_process),
            ("linearizable-keys", inference.linearizable_keys, _by_real_time),
        )
        if is_made
    }
    orders = asked
    if any(_cyclic(asked)):
        orders = {}
        for rule, order in asked.items():
            # An assumption that contradicts itself or those before it is wrong here: nothing is derived from it.
            if cyclic := list(_cyclic({**orders, rule: order})):
                anomalies += cyclic
            else:
                orders[rule] = order
    _add_edges(registers, graph, orders, inference)
    return anomalies, RegisterDependencies(registers, orders, inference)


def _add_edges(registers: Registers, graph: Graph, orders: Orders, inference: Inference) -> None:
    ww: list[tuple[int, int]] = []
    wr: list[tuple[int, int]] = []
    rw: list[tuple[int, int]] = []
    installed = dict(registers.writer)
    for key, value in (*registers.failed, *registers.passing):
        if installed[key] is registers.writer[key]:
            installed[key] = dict(registers.writer[key])
        installed[key].pop(value, None)
    nobody: dict[Any, Any] = {}
    for key, of_key in registers.readers.items():
        writers = installed.get(key, nobody)
        for value, readers in of_key.items():
            by = writers.get(value)
            if by is not None:
                wr += [(by, reader) for reader in readers]
        initial = of_key.get(registers.initial(key, is_absent=inference.absent_at_first))
        if initial:
            graph.fan(RW, initial, [by for value, by in writers.items() if value is not None])
    for order in orders.values():
        for key, edges in order.items():
            of_key, writers = registers.readers.get(key, nobody), installed.get(key, nobody)
            for before, after in edges:
                then = writers.get(after)
                if then is None:
                    continue
                by = writers.get(before)
                if by is not None:
                    ww.append((by, then))
                # Readers of the initial state come before all writers already.
                if before is not None and before in of_key:
                    rw += [(reader, then) for reader in of_key[before]]
    certain = set(wr)  # Needs no assumption, so it explains the pair better than an order of values.
    graph.add_pairs(WR, wr)
    graph.add_pairs(WW, [pair for pair in ww if pair not in certain])
    graph.add_pairs(RW, rw)


def _written_after_read(registers: Registers) -> Order:
    found: Order = {}
    for number in registers.repeating:
        reads, writes = registers.reads[number], registers.writes[number]
        for key, value in reads.items():
            if value is not None and key in writes and value != writes[key]:
                found.setdefault(key, {}).setdefault((value, writes[key]), (number,))
    return found


def _by_process(registers: Registers) -> Order:
    found: Order = {}
    history = registers.found
    last: dict[tuple[int, Any], tuple[int, Any]] = {}
    for event in history.events:
        number = event >> 1
        kind, process = history.kind[number], history.process[number]
        reads, writes = registers.reads[number], registers.writes[number]
        if event & 1:
            if kind == OK:
                for key, value in {**reads, **writes}.items():
                    last[process, key] = number, value
        elif kind <= INFO:
            for key, value in {**writes, **reads}.items():
                if (known := last.get((process, key))) is not None and known[1] != value:
                    found.setdefault(key, {}).setdefault((known[1], value), (known[0], number))
    return found


def _by_real_time(registers: Registers) -> Order:
    """For each key, the transactions that touched it: each after those that had ended and that no other ended one came after."""
    found: Order = {}
    history = registers.found
    kinds = history.kind
    latest: dict[Any, dict[int, Any]] = {}
    """Key -> each transaction that ended last -> the value of the key that it left."""
    behind: dict[int, dict[Any, list[int]]] = {}
    for event in history.events:
        number = event >> 1
        kind = kinds[number]
        if kind > INFO:
            continue
        reads, writes = registers.reads[number], registers.writes[number]
        if event & 1:
            if kind != OK:
                continue
            before_of = behind.pop(number)
            for key, value in ({**reads, **writes} if reads and writes else reads or writes).items():
                ended = latest.get(key)
                if ended is None:
                    latest[key] = {number: value}
                    continue
                for before in before_of.get(key, ()):
                    ended.pop(before, None)
                ended[number] = value
            continue
        before_of = behind[number] = {}
        for key, value in ({**writes, **reads} if reads and writes else reads or writes).items():
            ended = latest.get(key)
            if not ended:
                continue
            before_of[key] = list(ended)
            of_key = found.get(key)
            if of_key is None:
                of_key = found[key] = {}
            for before, left in ended.items():
                if left != value and (left, value) not in of_key:
                    of_key[left, value] = (before, number)
    return found


def _cyclic(orders: Orders) -> Iterator[Anomaly]:
    """Values of a key that would come before themselves. The initial state comes before all others."""
    sources, targets = array("i"), array("i")
    numbers: dict[Any, dict[Any, int]] = {}
    count = 0
    for key in dict.fromkeys(key for order in orders.values() for key in order):
        of = numbers[key] = {}
        for order in orders.values():
            for before, after in order.get(key, ()):
                source, target = of.get(before), of.get(after)
                if source is None:
                    source = of[before] = count + len(of)
                if target is None:
                    target = of[after] = count + len(of)
                sources.append(source)
                targets.append(target)
        if None in of and any(after is None for order in orders.values() for _, after in order.get(key, ())):
            others = [number for value, number in of.items() if value is not None]
            sources.extend([of[None]] * len(others))
            targets.extend(others)
        count += len(of)
    labels = components(count, np.array(sources, dtype=np.int32), np.array(targets, dtype=np.int32))
    counts = np.bincount(labels, minlength=1)
    if counts.max(initial=0) < 2:
        return
    rings: dict[int, list[tuple[Any, Any]]] = defaultdict(list)
    every = ((key, value) for key, of in numbers.items() for value in of)
    for each, label in zip(every, labels.tolist(), strict=True):
        if counts[label] > 1:
            rings[label].append(each)
    for ring in rings.values():
        key, values = ring[0][0], [value for _, value in ring]
        shown: set[int] = set()
        rules: set[str] = set()
        for rule, order in orders.items():
            for (before, after), by in order.get(key, {}).items():
                if before in values and after in values:
                    rules.add(rule)
                    shown.update(by)
        text = ", ".join(quoted(value) for value in values[:10])
        words = (
            f"the values {text} of {quoted(key)} would each come before the others, by {' and '.join(sorted(rules))}"
        )
        yield Anomaly("cyclic-versions", key, words, tuple(sorted(shown)[:20]))


def _within(registers: Registers) -> Iterator[Anomaly]:
    found = registers.found
    for number in registers.repeating:
        if found.kind[number] != OK:
            continue
        state: dict[Any, Any] = {}
        to_come = {(step[1], step[2]) for step in found.steps[number] if step[0] == "w"}
        for step in found.steps[number]:
            key, value = step[1], step[2] if len(step) > 2 else None
            if step[0] == "w":
                to_come.discard((key, value))
            elif (key, value) in to_come:
                words = f"T1 read {quoted(value)} in {quoted(key)} before it wrote it"
                yield Anomaly("future-read", key, words, (number,))
                break
            if step[0] == "r" and key in state and state[key] != value:
                words = f"T1 read {quoted(value)} in {quoted(key)}, where by its own steps {quoted(state[key])} was due"
                yield Anomaly("internal", key, words, (number,))
                break
            state[key] = value


def _dirty(registers: Registers, inference: Inference) -> Iterator[Anomaly]:
    """Reads of what failed, of what its own transaction replaced, and of what nobody wrote.

    One value that nobody wrote may be the initial state, where nobody read that the key was absent, and it need not have been.
    """
    for key, of_key in registers.readers.items():
        written = registers.writer.get(key, {})
        unwritten = [value for value in of_key if value is not None and value not in written]
        allowed = 0 if inference.absent_at_first or None in of_key else 1
        for value in unwritten[allowed:]:
            words = f"T1 read {quoted(value)} in {quoted(key)}, which no transaction wrote"
            for number in of_key[value]:
                yield Anomaly("thin-air-read", key, words, (number,))
    if not registers.failed and not registers.passing:
        return
    found = registers.found
    for number, steps in enumerate(found.steps):
        if found.kind[number] != OK:
            continue
        for step in steps or ():
            if step[0] != "r" or len(step) < 3:
                continue
            key, value = step[1], step[2]
            failed = registers.failed.get((key, value))
            if failed is not None:
                words = f"T1 read {quoted(value)} in {quoted(key)}, which T2 wrote; but T2 failed"
                yield Anomaly("G1a", key, words, (number, failed))
            by = registers.passing.get((key, value))
            if by is not None and by != number and failed is None:
                words = f"T1 read {quoted(value)} in {quoted(key)}, which T2 wrote and replaced before it was done"
                yield Anomaly("G1b", key, words, (number, by))


def _lost_updates(registers: Registers) -> Iterator[Anomaly]:
    """Transactions that read the same value of a key and then both wrote it."""
    groups: dict[tuple[Any, Any], list[int]] = defaultdict(list)
    for number in registers.repeating:
        if registers.found.kind[number] == OK:
            read: dict[Any, Any] = {}
            written: set[Any] = set()
            for step in registers.found.steps[number]:
                key = step[1]
                if key in written:
                    continue
                if step[0] == "r":
                    read[key] = step[2] if len(step) > 2 else None  # Who reads again updates what it read last.
                else:
                    written.add(key)
                    if key in read:
                        groups[key, read[key]].append(number)
    for (key, value), numbers in groups.items():
        if len(numbers) > 1:
            who = ", ".join(f"T{i}" for i in range(1, len(numbers[:10]) + 1))
            words = (
                f"{who} all read {quoted(value)} in {quoted(key)} and then wrote it: one update was lost to the other"
            )
            yield Anomaly("lost-update", key, words, tuple(numbers[:10]))


class RegisterDependencies:
    """Explains edges of rw-register; see found.Dependencies."""

    def __init__(self, registers: Registers, orders: Orders, inference: Inference) -> None:
        self._registers = registers
        self._orders = orders
        self._inference = inference
        self._behind: dict[Any, dict[Any, list[Any]]] = {}

    @property
    def assumed(self) -> tuple[str, ...]:
        """See found.Dependencies."""
        return tuple(self._orders)

    @property
    def unordered(self) -> list[tuple[Any, list[int]]]:
        """See found.Dependencies: of registers too many, which --exact decides."""
        return []

    def overtaken(self, reader: int, writer: int, since: int = -1) -> Overtaken | None:
        """See found.Dependencies."""
        registers = self._registers
        written = registers.writes[writer]
        own: set[Any] = set()
        for place, step in enumerate(registers.found.steps[reader] if registers.reads[reader] else ()):
            key = step[1]
            if step[0] != "r":
                own.add(key)
            elif place > since and key in written and key not in own and key in registers.reads[reader]:
                values = self._later(key, registers.reads[reader][key], written[key])
                writers = [registers.final_writer(key, value) for value in values]
                if values and None not in writers and len({reader, *writers}) == len(writers) + 1:
                    return (reader, *(each for each in writers if each is not None))
        return None

    def _later(self, key: Any, value: Any, wanted: Any) -> list[Any]:
        """The values behind this one, up to the one that is wanted; none where nothing shows that it is behind."""
        if value == wanted:
            return []
        if value == self._registers.initial(key, is_absent=self._inference.absent_at_first):
            return [wanted]
        behind = self._successors(key)
        came: dict[Any, Any] = {value: None}
        waiting = [value]
        for each in waiting:
            if each == wanted:
                break
            for after in behind.get(each, ()):
                if after not in came:
                    came[after] = each
                    waiting.append(after)
        if wanted not in came:
            return []
        values = [wanted]
        while came[values[-1]] != value:
            values.append(came[values[-1]])
        return values[::-1]

    def _successors(self, key: Any) -> dict[Any, list[Any]]:
        if key not in self._behind:
            found: dict[Any, list[Any]] = {}
            for order in self._orders.values():
                for before, after in order.get(key, ()):
                    found.setdefault(before, []).append(after)
            self._behind[key] = found
        return self._behind[key]

    def met_at(self, reader: int, writer: int) -> int:
        """See found.Dependencies."""
        for place, step in enumerate(self._registers.found.steps[reader]):
            if step[0] == "r" and len(step) > 2 and self._registers.final_writer(step[1], step[2]) == writer:
                return place
        raise AssertionError(f"no wr edge from {writer} to {reader}")

    def reason(self, type: int, before: int, after: int) -> Reason:
        """See found.Dependencies."""
        registers = self._registers
        if type == WR:
            for key, value in registers.reads[after].items():
                if registers.final_writer(key, value) == before:
                    return Reason(WR, key, value, value)
            raise AssertionError(f"no wr edge from {before} to {after}")
        seen = registers.writes[before] if type == WW else registers.reads[before]
        for key, value in registers.writes[after].items():
            if key not in seen:
                continue
            earlier = seen[key]
            initial = registers.initial(key, is_absent=self._inference.absent_at_first)
            if type == RW and earlier == initial and value is not None:
                return Reason(RW, key, earlier, value)
            for rule, order in self._orders.items():
                witness = order.get(key, {}).get((earlier, value))
                if witness is not None:
                    return Reason(type, key, earlier, value, witness=witness, rule=rule)
        raise AssertionError(f"no edge of type {type} from {before} to {after}")
