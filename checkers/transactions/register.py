"""Rw-register: what reads and writes of registers tell about the order of transactions, when each value is written once.

A read of a value comes after its write. The order of two values of a key is known only where something says it: the initial state
comes before all (always), a value that a transaction read comes before the one that it then wrote (`wfr_keys`), and what one
process (`sequential_keys`) or real time (`linearizable_keys`) shows one after another was in that order. Source: Kingsbury and
Alvaro, Elle, VLDB 2020, §5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from checkers.transactions.components import components_of_lists
from checkers.transactions.found import Anomaly, Reason
from checkers.transactions.graph import RW, WR, WW, Graph
from checkers.transactions.reading import FAIL, INFO, OK, Transactions, UnfitTransactions
from histories.printing import quoted
from histories.wellformed import Problem


class Inference(msgspec.Struct, frozen=True):
    """Which assumptions order the values of a key; see the module. What they rule out is ruled out where they hold."""

    wfr_keys: bool = False
    sequential_keys: bool = False
    linearizable_keys: bool = False

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

    def final_writer(self, key: Any, value: Any) -> int | None:
        """Who installed this value: wrote it, did not fail and did not replace it."""
        if value is None or (key, value) in self.failed or (key, value) in self.passing:
            return None
        return self.writer.get(key, {}).get(value)


def _count(steps: Any, key: Any, value: Any) -> int:
    return sum(1 for step in steps if step[0] == "w" and step[1] == key and step[2] == value)


Edges = dict[Any, dict[Any, dict[Any, tuple[str, tuple[int, ...]]]]]
"""key -> value -> each value that comes after it -> (the rule that says so, the transactions that show it)."""


def analyze(found: Transactions, graph: Graph, inference: Inference) -> tuple[list[Anomaly], RegisterDependencies]:
    """The anomalies that are no cycles, and what explains the edges that were added to the graph. Raises UnfitTransactions."""
    registers = Registers(found)
    anomalies = [*_within(registers), *_dirty(registers), *_lost_updates(registers)]
    versions: Edges = {}
    for rule, is_made, source in (
        ("wfr-keys", inference.wfr_keys, _written_after_read),
        ("sequential-keys", inference.sequential_keys, _by_process),
        ("linearizable-keys", inference.linearizable_keys, _by_real_time),
    ):
        if not is_made:
            continue
        more = _with(versions, rule, source(registers))
        cyclic = list(_cyclic(registers, more))
        if cyclic:
            anomalies += cyclic
        else:
            versions = more
    _add_edges(registers, graph, versions)
    return anomalies, RegisterDependencies(registers, versions)


def _add_edges(registers: Registers, graph: Graph, versions: Edges) -> None:
    pairs: dict[int, list[tuple[int, int]]] = {WW: [], WR: [], RW: []}
    for key, of_key in registers.readers.items():
        for value, readers in of_key.items():
            by = registers.final_writer(key, value)
            if by is not None:
                pairs[WR] += [(by, reader) for reader in readers]
        initial = of_key.get(None)
        if initial:
            writers = [
                w for v, w in registers.writer.get(key, {}).items() if registers.final_writer(key, v) is not None
            ]
            graph.fan(RW, initial, writers)
    for key, edges in versions.items():
        of_key = registers.readers.get(key, {})
        for before, afters in edges.items():
            readers = of_key.get(before, [])
            by = registers.final_writer(key, before)
            for after in afters:
                then = registers.final_writer(key, after)
                if then is None:
                    continue
                if by is not None:
                    pairs[WW].append((by, then))
                if before is not None or not readers:
                    pairs[RW] += [(reader, then) for reader in readers]
    certain = set(pairs[WR])  # Needs no assumption, so it explains the pair better than an order of values.
    pairs[WW] = [pair for pair in pairs[WW] if pair not in certain]
    for type, found in pairs.items():
        graph.add_pairs(type, found)


def _with(versions: Edges, rule: str, more: Iterable[tuple[Any, Any, Any, tuple[int, ...]]]) -> Edges:
    """The orders of values known so far, and those that the rule gives."""
    found: Edges = {key: {value: dict(afters) for value, afters in edges.items()} for key, edges in versions.items()}
    for key, before, after, witness in more:
        if before != after:
            found.setdefault(key, {}).setdefault(before, {}).setdefault(after, (rule, witness))
    return found


def _written_after_read(registers: Registers) -> Iterator[tuple[Any, Any, Any, tuple[int, ...]]]:
    for number in registers.repeating:
        reads, writes = registers.reads[number], registers.writes[number]
        for key, value in reads.items():
            if value is not None and key in writes:
                yield key, value, writes[key], (number,)


def _entry(registers: Registers, number: int, key: Any) -> Any:
    """The value of the key that the transaction met first."""
    reads = registers.reads[number]
    return reads[key] if key in reads else registers.writes[number][key]


def _exit(registers: Registers, number: int, key: Any) -> Any:
    """The value of the key that the transaction left."""
    writes = registers.writes[number]
    return writes[key] if key in writes else registers.reads[number][key]


def _keys_of(registers: Registers, number: int) -> dict[Any, Any]:
    return {**registers.reads[number], **registers.writes[number]}


def _by_process(registers: Registers) -> Iterator[tuple[Any, Any, Any, tuple[int, ...]]]:
    found = registers.found
    last: dict[tuple[int, Any], int] = {}
    for event in found.events:
        number = event >> 1
        kind, process = found.kind[number], found.process[number]
        if event & 1:
            if kind == OK:
                for key in _keys_of(registers, number):
                    last[process, key] = number
        elif kind <= INFO:
            for key in _keys_of(registers, number):
                before = last.get((process, key))
                if before is not None:
                    yield key, _exit(registers, before, key), _entry(registers, number, key), (before, number)


def _by_real_time(registers: Registers) -> Iterator[tuple[Any, Any, Any, tuple[int, ...]]]:
    """For each key, the transactions that touched it: each after those that had ended and that no other ended one came after."""
    found = registers.found
    latest: dict[Any, dict[int, None]] = {}
    behind: dict[int, dict[Any, tuple[int, ...]]] = {}
    for event in found.events:
        number = event >> 1
        kind = found.kind[number]
        if kind > INFO:
            continue
        keys = _keys_of(registers, number)
        if event & 1:
            if kind != OK:
                continue
            before_of = behind.pop(number, {})
            for key in keys:
                ended = latest.setdefault(key, {})
                for before in before_of.get(key, ()):
                    ended.pop(before, None)
                ended[number] = None
            continue
        before_of = behind[number] = {}
        for key in keys:
            if already := latest.get(key):
                before_of[key] = tuple(already)
                for before in already:
                    yield key, _exit(registers, before, key), _entry(registers, number, key), (before, number)


def _cyclic(registers: Registers, versions: Edges) -> Iterator[Anomaly]:
    """Values of a key that would come before themselves. The initial state comes before all others."""
    for key, edges in versions.items():
        values = list(dict.fromkeys([*edges, *(after for afters in edges.values() for after in afters)]))
        has_initial = any(None in afters for afters in edges.values())
        place = {value: i for i, value in enumerate(values)}
        out: list[list[int]] = [[place[after] for after in edges.get(value, ())] for value in values]
        if has_initial:
            out[place[None]] += [i for i, value in enumerate(values) if value is not None]
        label = components_of_lists(out)
        members: dict[int, list[int]] = defaultdict(list)
        for i, each in enumerate(label):
            members[each].append(i)
        for ring in members.values():
            if len(ring) < 2:
                continue
            chosen = [values[i] for i in ring]
            shown = sorted(
                {n for v in chosen for after, (_, by) in edges.get(v, {}).items() if after in chosen for n in by}
            )
            rules = sorted({rule for v in chosen for after, (rule, _) in edges.get(v, {}).items() if after in chosen})
            values_text = ", ".join(quoted(value) for value in chosen[:10])
            words = (
                f"the values {values_text} of {quoted(key)} would each come before the others, by {' and '.join(rules)}"
            )
            yield Anomaly("cyclic-versions", key, words, tuple(shown[:20]))


def _within(registers: Registers) -> Iterator[Anomaly]:
    found = registers.found
    for number in registers.repeating:
        if found.kind[number] != OK:
            continue
        state: dict[Any, Any] = {}
        for step in found.steps[number]:
            key, value = step[1], step[2] if len(step) > 2 else None
            if step[0] == "r" and key in state and state[key] != value:
                words = f"T1 read {quoted(value)} in {quoted(key)}, where by its own steps {quoted(state[key])} was due"
                yield Anomaly("internal", key, words, (number,))
                break
            state[key] = value


def _dirty(registers: Registers) -> Iterator[Anomaly]:
    """Reads of what failed, of what its own transaction replaced, and of what nobody wrote.

    One value that nobody wrote may be the initial state, where nobody read that the key was absent.
    """
    for key, of_key in registers.readers.items():
        written = registers.writer.get(key, {})
        unwritten = [value for value in of_key if value is not None and value not in written]
        allowed = 0 if None in of_key else 1
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
            writes = registers.writes[number]
            for key, value in registers.reads[number].items():
                if key in writes:
                    groups[key, value].append(number)
    for (key, value), numbers in groups.items():
        if len(numbers) > 1:
            who = ", ".join(f"T{i}" for i in range(1, len(numbers[:10]) + 1))
            words = (
                f"{who} all read {quoted(value)} in {quoted(key)} and then wrote it: one update was lost to the other"
            )
            yield Anomaly("lost-update", key, words, tuple(numbers[:10]))


class RegisterDependencies:
    """Explains edges of rw-register; see found.Dependencies."""

    def __init__(self, registers: Registers, versions: Edges) -> None:
        self._registers = registers
        self._versions = versions

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
            if type == RW and earlier is None and value is not None:
                return Reason(RW, key, None, value)
            known = self._versions.get(key, {}).get(earlier, {}).get(value)
            if known is not None:
                rule, witness = known
                return Reason(type, key, earlier, value, witness=witness, rule=rule)
        raise AssertionError(f"no edge of type {type} from {before} to {after}")
