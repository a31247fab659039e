"""List-append: what lists that only grow tell about the order of transactions.

A read of a list shows every append before it, in order. So the longest read of a key orders its versions; version i of a key is its
list with i elements. An element that no read shows was appended after all that were read. Source: Kingsbury and Alvaro, Elle, VLDB
2020, §3 to §5. One pass over the micro-operations fills arrays of integers; everything after it is array arithmetic, but for keys
whose reads contradict each other, which are looked at one by one.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.transactions.components import Ints
from checkers.transactions.found import Anomaly, Overtaken, Reason
from checkers.transactions.graph import RW, WR, WW, Graph
from checkers.transactions.reading import FAIL, INFO, OK, Transactions, UnfitTransactions
from histories.printing import quoted
from histories.wellformed import Problem

NO_ONE = -1
ANOMALIES_MAX = 100
"""So many of one name are listed; stats count all."""


class Lists:
    """The keys of a history of appends and reads.

    keys: key -> its number. writers: of each key, element -> number of the transaction that appends it. longest: of each key, the
    longest list that was read. odd: keys some of whose reads are no prefixes of the longest, or whose longest has an element twice.
    """

    def __init__(self, found: Transactions) -> None:
        self.found = found
        self.keys: dict[Any, int] = {}
        self.names: list[Any] = []
        self.writers: list[dict[Any, int]] = []
        self.longest: list[list[Any]] = []
        self.odd: set[int] = set()
        self.intermediate: list[tuple[int, Any]] = []
        self.repeating: list[int] = []
        self.read_key, self.read_size, self.read_by = array("i"), array("i"), array("i")
        self.has_failed = FAIL in found.kind
        self._pass()
        self.orders: list[list[Any]] = self.longest
        """Of each key, the elements in the order of their versions."""
        for number, longest in enumerate(self.longest):
            if len(set(longest)) < len(longest):
                self.odd.add(number)
        self.shown: list[set[Any]] = []
        """Of each odd key, in the place of its number, every element that some read shows; of others nothing."""
        if self.odd:
            self.shown = [set() for _ in self.longest]
            for i in self.odd:
                self.shown[i] = {
                    element for _, step in self.steps_on(i) if step[0] == "r" for element in _read_of(step)
                }
            self.orders = [list(dict.fromkeys(each)) if i in self.odd else each for i, each in enumerate(self.longest)]

    def _pass(self) -> None:
        """Fills the arrays. Raises UnfitTransactions where an element is appended twice."""
        keys, names, writers, longest_of = self.keys, self.names, self.writers, self.longest
        add_key, add_size, add_by = self.read_key.append, self.read_size.append, self.read_by.append
        twice: list[Problem] = []
        kinds = self.found.kind
        for number, steps in enumerate(self.found.steps):
            is_ok = kinds[number] == OK
            seen = set()
            for step in steps or ():
                key = step[1]
                seen.add(key)
                i = keys.get(key)
                if i is None:
                    i = keys[key] = len(names)
                    names.append(key)
                    writers.append({})
                    longest_of.append([])
                if step[0] == "append":
                    if writers[i].setdefault(step[2], number) != number:
                        twice.append(self._twice(number, step))
                elif is_ok:
                    value = step[2] if len(step) > 2 else None
                    add_key(i)
                    add_by(number)
                    if not value:
                        add_size(0)
                        continue
                    size = len(value)
                    add_size(size)
                    longest = longest_of[i]
                    if size <= len(longest):
                        if longest[size - 1] == value[-1] and longest[:size] == value:
                            continue
                        value = list(value)
                        if longest[:size] != value:
                            self.odd.add(i)
                    else:
                        value = list(value)
                        if value[: len(longest)] != longest:
                            self.odd.add(i)
                        longest_of[i] = value
            if steps and len(seen) < len(steps):
                self.repeating.append(number)
                appended = [(step[1], step[2]) for step in steps if step[0] == "append"]
                if len(set(appended)) < len(appended):
                    twice.append(self._twice(number, next(s for s in steps if appended.count((s[1], s[-1])) > 1)))
        if twice:
            raise UnfitTransactions(twice)

    def _twice(self, number: int, step: Any) -> Problem:
        return Problem(
            self.found.begin[number],
            "duplicate-append",
            f"{quoted(step[2])} is appended to {quoted(step[1])} more than once, so that a read cannot tell which it saw",
        )

    def is_real(self, i: int, element: Any) -> bool:
        """Whether a transaction appended the element, and did not fail."""
        number = self.writers[i].get(element)
        return number is not None and self.found.kind[number] != FAIL

    def unseen(self, i: int) -> list[int]:
        """Who appended an element of the key that no read shows, and did not fail."""
        of, shown = self.writers[i], self.shown[i] if i in self.odd else set(self.orders[i])
        kinds = self.found.kind
        return [number for element, number in of.items() if element not in shown and kinds[number] != FAIL]

    def steps_on(self, i: int, kind: int = OK) -> Iterator[tuple[int, Any]]:
        """(transaction, step) for each step on the key by transactions that ended so. Looks at the whole history."""
        name = self.names[i]
        for number, steps in enumerate(self.found.steps):
            if self.found.kind[number] == kind:
                for step in steps or ():
                    if step[1] == name:
                        yield number, step


def _read_of(step: Any) -> list[Any]:
    return list(step[2]) if len(step) > 2 and step[2] else []


def analyze(found: Transactions, graph: Graph) -> tuple[list[Anomaly], AppendDependencies]:
    """The anomalies that are no cycles, and what explains the edges that were added to the graph. Raises UnfitTransactions."""
    lists = Lists(found)
    anomalies = [*_within(lists), *_lost_updates(lists)]
    sizes = np.array([len(order) for order in lists.orders], dtype=np.int64)
    first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes + 1)])
    # writer[first[i] + v] appended version v of key i; version 0 is the initial state, which nobody wrote.
    writer = np.full(int(first[-1]), NO_ONE, dtype=np.int32)
    for i, order in enumerate(lists.orders):
        of = lists.writers[i]
        writer[first[i] + 1 : first[i] + 1 + len(order)] = [of.get(element, NO_ONE) for element in order]
    read_key = np.array(lists.read_key, dtype=np.int64)
    read_version = np.array(lists.read_size, dtype=np.int64)
    read_by = np.array(lists.read_by, dtype=np.int32)
    if lists.odd:
        is_odd = np.zeros(len(sizes), dtype=bool)
        is_odd[list(lists.odd)] = True
        keep = ~is_odd[read_key]
        read_key, read_version, read_by = read_key[keep], read_version[keep], read_by[keep]
    at = first[read_key] + read_version
    anomalies += _dirty(lists, first, writer, at, read_key, read_version, read_by)
    _add_edges(lists, graph, first, sizes, writer, at, read_key, read_version, read_by)
    for i in sorted(lists.odd):
        anomalies += _odd_key(lists, graph, i)
    return anomalies, AppendDependencies(lists)


def _add_edges(
    lists: Lists,
    graph: Graph,
    first: NDArray[np.int64],
    sizes: NDArray[np.int64],
    writer: Ints,
    at: NDArray[np.int64],
    read_key: NDArray[np.int64],
    read_version: NDArray[np.int64],
    read_by: Ints,
) -> None:
    failed = np.array(lists.found.kind, dtype=np.int8) == FAIL
    # What failed, or nobody wrote, has no place in the graph: such reads are anomalies of their own.
    real = writer >= 0
    real[real] = ~failed[writer[real]]
    graph.add(WR, *_both(writer[at], read_by, real[at]))
    has_next = read_version < sizes[read_key]
    following = at[has_next] + 1
    graph.add(RW, *_both(read_by[has_next], writer[following], real[following]))
    # What failed in between is no version, and what nobody wrote leaves the order of its neighbours as it is.
    steps = np.flatnonzero(real)
    key_of = np.repeat(np.arange(len(sizes)), sizes + 1)[steps]
    graph.add(WW, *_both(writer[steps[:-1]], writer[steps[1:]], key_of[:-1] == key_of[1:]))
    unseen: dict[int, list[int]] = {}
    for i, of in enumerate(lists.writers):
        if (len(of) > sizes[i] or i in lists.odd) and (late := lists.unseen(i)):
            unseen[i] = late
    if not unseen:
        return
    last_readers: dict[int, list[int]] = defaultdict(list)
    latest = ~has_next
    for i, number in zip(read_key[latest].tolist(), read_by[latest].tolist(), strict=True):
        if i in unseen:
            last_readers[i].append(number)
    for i, late in unseen.items():
        last = int(np.searchsorted(steps, first[i] + sizes[i], "right")) - 1
        if last >= 0 and key_of[last] == i:
            graph.fan(WW, [int(writer[steps[last]])], late)
        if i in lists.odd:
            continue  # _odd_key knows who read the last version.
        graph.fan(RW, last_readers[i], late)


def _both(sources: Any, targets: Any, keep: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    return sources[keep], targets[keep]


def _dirty(
    lists: Lists,
    first: NDArray[np.int64],
    writer: Ints,
    at: NDArray[np.int64],
    read_key: NDArray[np.int64],
    read_version: NDArray[np.int64],
    read_by: Ints,
) -> Iterator[Anomaly]:
    """Reads of what failed, of what was overwritten within its transaction, and of what nobody wrote."""
    names, orders = lists.names, lists.orders
    if lists.intermediate:
        passing = np.zeros(len(writer), dtype=bool)
        replaced: dict[int, set[Any]] = defaultdict(set)
        for i, element in lists.intermediate:
            replaced[i].add(element)
        for i, elements in replaced.items():
            if i not in lists.odd:
                places = [int(first[i]) + v for v, each in enumerate(orders[i], 1) if each in elements]
                passing[places] = True
        hit = passing[at] & (writer[at] != read_by)
        for i, version, number, by in zip(
            read_key[hit].tolist(),
            read_version[hit].tolist(),
            read_by[hit].tolist(),
            writer[at[hit]].tolist(),
            strict=True,
        ):
            yield _intermediate(names[i], orders[i][version - 1], number, by)
    kinds = lists.found.kind
    missing = writer == NO_ONE
    missing[first[:-1]] = False
    failed = np.array(kinds, dtype=np.int8) == FAIL
    aborted = np.zeros(len(writer), dtype=bool)
    aborted[writer >= 0] = failed[writer[writer >= 0]]
    for flag, name in ((aborted, "G1a"), (missing, "thin-air-read")):
        if not flag.any():
            continue
        for i, number, version in zip(read_key.tolist(), read_by.tolist(), read_version.tolist(), strict=True):
            start = int(first[i])
            for v in np.flatnonzero(flag[start + 1 : start + version + 1]).tolist():
                yield _unwritten(name, names[i], orders[i][v], number, int(writer[start + 1 + v]))
    if lists.has_failed:
        for i, order in enumerate(orders):
            yield from _dirty_updates(lists, i, order)


def _intermediate(key: Any, element: Any, reader: int, by: int) -> Anomaly:
    words = f"T1 read {quoted(key)} as it was after {quoted(element)} was appended by T2, which went on to append more to it"
    return Anomaly("G1b", key, words, (reader, by))


def _unwritten(name: str, key: Any, element: Any, reader: int, by: int) -> Anomaly:
    if name == "G1a":
        words = f"T1 read {quoted(element)} in {quoted(key)}, which T2 appended; but T2 failed"
        return Anomaly(name, key, words, (reader, by))
    return Anomaly(name, key, f"T1 read {quoted(element)} in {quoted(key)}, which no transaction appended", (reader,))


def _dirty_updates(lists: Lists, i: int, order: list[Any]) -> Iterator[Anomaly]:
    """A version that a failed transaction wrote, and on which one that succeeded built."""
    kinds, of = lists.found.kind, lists.writers[i]
    aborted: int | None = None
    for element in order:
        by = of.get(element)
        if by is None or kinds[by] == INFO:
            continue
        if kinds[by] == FAIL:
            aborted = by if aborted is None else aborted
            continue
        if aborted is not None:
            key = lists.names[i]
            words = f"T2 appended {quoted(element)} to {quoted(key)} after what T1 had appended; but T1 failed"
            yield Anomaly("dirty-update", key, words, (aborted, by))
        aborted = None


def _within(lists: Lists) -> Iterator[Anomaly]:
    """What shows inside one transaction. Notes intermediate appends on the way."""
    found = lists.found
    for number in lists.repeating:
        steps = found.steps[number]
        last: dict[Any, Any] = {}
        for step in steps:
            if step[0] == "append":
                if step[1] in last:
                    lists.intermediate.append((lists.keys[step[1]], last[step[1]]))
                last[step[1]] = step[2]
        if found.kind[number] == OK:
            yield from _internal(number, steps)
            yield from _future(number, steps)


def _internal(number: int, steps: Any) -> Iterator[Anomaly]:
    state: dict[Any, tuple[bool, list[Any]]] = {}
    """Key -> (whether the whole list is known, or only its end; that)."""
    for step in steps:
        key = step[1]
        if step[0] == "append":
            state.setdefault(key, (False, []))[1].append(step[2])
            continue
        value = _read_of(step)
        if key in state:
            is_whole, known = state[key]
            fits = (
                value == known if is_whole else value[len(value) - len(known) :] == known and len(value) >= len(known)
            )
            if not fits:
                due = f"{quoted(known)}" if is_whole else f"a list that ends with {quoted(known)}"
                words = f"T1 read {quoted(value)} in {quoted(key)}, where by its own steps {due} was due"
                yield Anomaly("internal", key, words, (number,))
                return
        state[key] = (True, value)


def _future(number: int, steps: Any) -> Iterator[Anomaly]:
    seen: set[tuple[Any, Any]] = set()
    for step in steps:
        if step[0] == "append":
            if (step[1], step[2]) in seen:
                words = f"T1 read {quoted(step[2])} in {quoted(step[1])} before it appended it"
                yield Anomaly("future-read", step[1], words, (number,))
                return
        else:
            seen.update((step[1], element) for element in _read_of(step))


def _lost_updates(lists: Lists) -> Iterator[Anomaly]:
    """Transactions that read the same version of a key and then both wrote it."""
    found = lists.found
    groups: dict[tuple[Any, Any], list[int]] = defaultdict(list)
    for number in lists.repeating:
        if found.kind[number] != OK:
            continue
        reads: dict[Any, tuple[Any, ...]] = {}
        written: set[Any] = set()
        for step in found.steps[number]:
            key = step[1]
            if step[0] == "r":
                if key not in written:
                    reads[key] = tuple(_read_of(step))  # Who reads again updates what it read last.
            elif key not in written:
                written.add(key)
                if key in reads:
                    groups[key, reads[key]].append(number)
    for (key, value), numbers in groups.items():
        if len(numbers) > 1:
            who = ", ".join(f"T{i}" for i in range(1, len(numbers[:10]) + 1))
            text = quoted(list(value))
            words = f"{who} all read {text} in {quoted(key)} and then appended to it: one update was lost to the other"
            yield Anomaly("lost-update", key, words, tuple(numbers[:10]))


def _odd_key(lists: Lists, graph: Graph, i: int) -> Iterator[Anomaly]:
    """A key whose reads contradict each other: what still follows, read by read."""
    key, order, of = lists.names[i], lists.orders[i], lists.writers[i]
    kinds, longest = lists.found.kind, lists.longest[i]
    place = {element: v for v, element in enumerate(order, 1)}
    passing = {element for j, element in lists.intermediate if j == i}
    late = lists.unseen(i)
    wr: list[tuple[int, int]] = []
    rw: list[tuple[int, int]] = []
    last_readers: list[int] = []
    is_reported = False
    longest_by = next((n for n, s in lists.steps_on(i) if s[0] == "r" and _read_of(s) == longest), NO_ONE)
    for number, step in lists.steps_on(i):
        if step[0] != "r":
            continue
        value = _read_of(step)
        if len(set(value)) < len(value):
            words = f"T1 read {quoted(value)} in {quoted(key)}, in which an element stands more than once"
            yield Anomaly("duplicate-elements", key, words, (number,))
        if value != longest[: len(value)] and not is_reported:
            is_reported = True
            words = f"T1 read {quoted(value)} in {quoted(key)}, and T2 read {quoted(longest)}: neither can grow into the other"
            yield Anomaly("incompatible-order", key, words, (number, longest_by))
        for element in dict.fromkeys(value):
            by = of.get(element, NO_ONE)
            if by == NO_ONE:
                yield _unwritten("thin-air-read", key, element, number, NO_ONE)
            elif kinds[by] == FAIL:
                yield _unwritten("G1a", key, element, number, by)
        if not value:
            version = 0
        else:
            by = of.get(value[-1], NO_ONE)
            if by != NO_ONE and kinds[by] != FAIL:
                wr.append((by, number))
                if value[-1] in passing and by != number:
                    yield _intermediate(key, value[-1], number, by)
            if value[-1] not in place:
                continue  # Not in the order of versions: nothing is known to follow it.
            # In a read that has an element twice, or in another order, the last one is not the latest of them.
            version = max(place[element] for element in value if element in place)
        if version < len(order):
            by = of.get(order[version], NO_ONE)
            if by != NO_ONE and kinds[by] != FAIL:
                rw.append((number, by))
        else:
            last_readers.append(number)
    graph.add_pairs(WR, wr)
    graph.add_pairs(RW, rw)
    graph.fan(RW, last_readers, late)


class AppendDependencies:
    """Explains edges of list-append; see found.Dependencies."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists

    @property
    def assumed(self) -> tuple[str, ...]:
        """See found.Dependencies: lists show their order."""
        return ()

    @property
    def unordered(self) -> list[tuple[Any, list[int]]]:
        """See found.Dependencies: whose elements no read shows."""
        lists = self._lists
        found: list[tuple[Any, list[int]]] = []
        for i, of in enumerate(lists.writers):
            if len(of) > len(lists.orders[i]) or i in lists.odd:
                late = [n for n in dict.fromkeys(lists.unseen(i)) if lists.found.kind[n] == OK]
                if len(late) > 1:
                    found.append((lists.names[i], late))
        return found

    def overtaken(self, reader: int, writer: int, since: int = -1) -> Overtaken | None:
        """See found.Dependencies."""
        return None if self._missed(reader, writer, since) is None else (reader, writer)

    def _missed(self, reader: int, writer: int, since: int = -1) -> Reason | None:
        """An append of the writer that the reader's list lacks."""
        lists = self._lists
        if lists.found.kind[reader] != OK:
            return None
        appended = {step[1]: step[2] for step in lists.found.steps[writer] or () if step[0] == "append"}
        own: set[Any] = set()
        for place, step in enumerate(lists.found.steps[reader]):
            key = step[1]
            if step[0] == "append":
                own.add(key)
            elif place > since and key in appended and key not in own:
                i, value = lists.keys[key], _read_of(step)
                if i not in lists.odd and appended[key] not in value:
                    unseen = appended[key] not in lists.orders[i]
                    return Reason(RW, key, value[-1] if value else None, appended[key], unseen)
        return None

    def met_at(self, reader: int, writer: int) -> int:
        """See found.Dependencies."""
        lists = self._lists
        for place, step in enumerate(lists.found.steps[reader]):
            value = _read_of(step) if step[0] == "r" else []
            if value and lists.writers[lists.keys[step[1]]].get(value[-1]) == writer:
                return place
        raise AssertionError(f"no wr edge from {writer} to {reader}")

    def reason(self, type: int, before: int, after: int) -> Reason:
        """See found.Dependencies."""
        lists = self._lists
        steps_of = lists.found.steps
        if type == WR:
            for step in steps_of[after]:
                value = _read_of(step) if step[0] == "r" else []
                if value and lists.writers[lists.keys[step[1]]].get(value[-1]) == before:
                    return Reason(WR, step[1], value[-1], value[-1])
            raise AssertionError(f"no wr edge from {before} to {after}")
        for step in steps_of[after]:
            if step[0] != "append":
                continue
            key, element = step[1], step[2]
            i = lists.keys[key]
            order = lists.orders[i]
            unseen = element not in (lists.shown[i] if i in lists.odd else order)
            if not unseen and element not in order:
                continue
            version = len(order) if unseen else order.index(element)
            upto = version
            if type == WW:
                while upto and not lists.is_real(i, order[upto - 1]):
                    upto -= 1
            previous = order[upto - 1] if upto else None
            if type == WW:
                holds = upto > 0 and lists.writers[i].get(previous) == before
            elif i in lists.odd:
                missing = [
                    value
                    for each in steps_of[before]
                    if each[0] == "r" and each[1] == key and element not in (value := _read_of(each))
                ]
                if missing:
                    return Reason(RW, key, missing[0][-1] if missing[0] else None, element, unseen)
                holds = False
            else:
                holds = any(
                    each[0] == "r"
                    and each[1] == key
                    and (_read_of(each)[-1:] == [previous] if version else not _read_of(each))
                    for each in steps_of[before]
                )
            if holds:
                witness = self._witness(i, upto, version, before, after, unseen) if type == WW else ()
                return Reason(type, key, previous, element, unseen, witness)
        if type == RW and (missed := self._missed(before, after)) is not None:
            return missed  # Not the next version, but a later one.
        raise AssertionError(f"no edge of type {type} from {before} to {after}")

    def _witness(self, i: int, upto: int, version: int, before: int, after: int, unseen: bool) -> tuple[int, ...]:
        """Who read that the version follows version `upto`: one of the two transactions, or the first that did."""
        order = self._lists.orders[i]
        if unseen:
            shown = order[upto - 1 : version]
            if not shown:
                return ()
        else:
            shown = order[max(0, upto - 1) : version + 1]
        readers = [
            number
            for number, step in self._lists.steps_on(i)
            if step[0] == "r" and _holds_run(_distinct(_read_of(step)), shown, is_start=version == 0, is_end=unseen)
        ]
        among = [number for number in readers if number in (before, after)]
        return tuple(among[:1] or readers[:1])


def _distinct(value: list[Any]) -> list[Any]:
    return list(dict.fromkeys(value))


def _holds_run(value: list[Any], run: list[Any], *, is_start: bool, is_end: bool) -> bool:
    """Whether the run's elements stand in the value side by side; at its start, or at its end, where that is asked."""
    if is_end:
        return value[-len(run) :] == run
    if is_start:
        return value[: len(run)] == run
    return any(value[at : at + len(run)] == run for at in range(len(value) - len(run) + 1))
