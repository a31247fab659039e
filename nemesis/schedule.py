"""Schedules as data: they say which fault op happens when, are saved with the run, read from a file, and shrunk entry by entry.

An entry's value names grudges, nodes and amounts explicitly, so that a schedule means the same in every environment. Only "primary"
is decided when the op is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from histories import printing
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.op import NEMESIS, Op
from histories.printing import quoted
from histories.whole_file import read_whole
from nemesis.capabilities import NodeId
from nemesis.family import Entry
from nemesis.outside import BadFamily
from nemesis.registry import FaultChoice, UnknownFault, choices_of, family_of, is_claimed, load_named

VERSION = 1


class BadSchedule(ValueError):
    """A schedule file that cannot be run. path; entry: its number from 0, None when it is the file as a whole; rule."""

    def __init__(self, path: str, entry: int | None, rule: str) -> None:
        self.path, self.entry, self.rule = path, entry, rule
        where = path if entry is None else f"{path}: entry {entry}"
        super().__init__(f"{where}: {printing.line(rule)}")


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fault ops in order of time.

    version: of the file format. nodes: the cluster it was planned for. seed: what it was planned from; None for one
        written by hand. choices: the command line's names. time_limit_ns: of the run it was planned for; 0 where
        unknown.
    beyond_model: planned without the limits of the target's fault model.
    """

    version: int = VERSION
    nodes: tuple[NodeId, ...]
    entries: tuple[Entry, ...]
    seed: int | str | None = None
    choices: tuple[str, ...] = ()
    time_limit_ns: int = 0
    beyond_model: bool = False

    def ops(self) -> Iterator[tuple[int, str, Any]]:
        """(time_ns, f, value), in order of time."""
        return ((entry.time_ns, entry.f, entry.value) for entry in self.entries)

    def fault_choices(self) -> list[FaultChoice]:
        """The families that its entries need, for building the faults and the final heals."""
        return choices_of(self.entries, self.nodes)

    def without(self, *numbers: int) -> Schedule:
        """The same schedule without the entries of these numbers."""
        return self.only([i for i in range(len(self.entries)) if i not in numbers])

    def only(self, numbers: Collection[int]) -> Schedule:
        """The same schedule with only the entries of these numbers."""
        return msgspec.structs.replace(self, entries=tuple(e for i, e in enumerate(self.entries) if i in numbers))

    def windows(self) -> list[tuple[int, ...]]:
        """The entries in groups that shrinking removes together: each fault from its first start to its stop, by
        number."""
        return windows(self.entries)


def windows(entries: Sequence[Entry]) -> list[tuple[int, ...]]:
    """Numbers of the entries of each fault, start to stop, in order of their starts. A stop without a start is its
    own."""
    groups: list[list[int]] = []
    opened: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        family = family_of(entry.f)
        group = opened.get(family.name)
        if group is None:
            group = []
            groups.append(group)
        group.append(i)
        # A fault without stops is over at once; one with stops stays open until it has one.
        if entry.f in family.ends or not family.ends:
            opened.pop(family.name, None)
        else:
            opened[family.name] = group
    return [tuple(group) for group in groups]


def encode(schedule: Schedule) -> bytes:
    """The schedule as the text of a file."""
    return msgspec.json.format(msgspec.json.encode(schedule, order="sorted"), indent=1) + b"\n"


def load(path: Path, nodes: Sequence[NodeId]) -> Schedule:
    """The schedule in `path`, every entry checked against the cluster's `nodes`. Raises BadSchedule, OSError."""
    return decode(read_whole(path), str(path), nodes)


def decode(text: bytes, path: str, nodes: Sequence[NodeId]) -> Schedule:
    """The schedule in these bytes, checked as `load` does; `path` is for messages. Its `nodes` are now the cluster's."""
    try:
        raw = decoded(msgspec.json.decode, text, FILE_DEPTH_MAX)
    except msgspec.DecodeError as error:
        raise BadSchedule(path, None, f"not JSON: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("entries"), list):
        raise BadSchedule(path, None, 'not a schedule: it is not an object with a list "entries"')
    if raw.get("version") != VERSION:
        raise BadSchedule(
            path, None, f"format version {quoted(raw.get('version'))}; this themis reads version {VERSION}"
        )
    entries = [_entry(path, i, item) for i, item in enumerate(raw["entries"])]
    try:
        load_named(name for name in raw.get("choices") or () if isinstance(name, str))
    except BadFamily as error:
        raise BadSchedule(path, None, str(error)) from error
    try:
        schedule = msgspec.convert({"nodes": list(nodes), **raw, "entries": []}, type=Schedule)
    except msgspec.ValidationError as error:
        raise BadSchedule(path, None, str(error)) from error
    schedule = msgspec.structs.replace(schedule, nodes=tuple(nodes), entries=tuple(entries))
    check(schedule, path)
    return schedule


def _entry(path: str, number: int, item: Any) -> Entry:
    try:
        return msgspec.convert(item, type=Entry)
    except msgspec.ValidationError as error:
        raise BadSchedule(path, number, str(error)) from error


def check(schedule: Schedule, path: str = "schedule") -> None:
    """Raises BadSchedule for the first entry that is out of order or cannot run on the schedule's nodes."""
    last_ns = 0
    for number, entry in enumerate(schedule.entries):
        if entry.time_ns < 0:
            raise BadSchedule(path, number, f"time_ns {entry.time_ns} is negative")
        if entry.time_ns < last_ns:
            raise BadSchedule(path, number, f"time_ns {entry.time_ns} is before that of the entry above it, {last_ns}")
        last_ns = entry.time_ns
        try:
            family_of(entry.f).check(entry.f, entry.value, schedule.nodes)
        except UnknownFault as error:
            raise BadSchedule(path, number, str(error)) from error
        except ValueError as error:
            raise BadSchedule(path, number, f"{entry.f}: {error}") from error


def outside_model(schedule: Schedule, survives: Collection[str], down_nodes_max: float = 1.0) -> list[str]:
    """Where a schedule leaves a target's fault model, in words; empty when it stays inside.

    survives, down_nodes_max: as in the target's fault model (a share of all nodes). The family of an entry says which nodes the
    entry takes down and brings back; a "primary" counts as a node of its own.
    """
    found: list[str] = []
    for choice in schedule.fault_choices():
        outside = [variant for variant in choice.variants or ("",) if not is_claimed(survives, choice, variant)]
        if choice.explicit:
            found += [f"{choice.name}:{variant}" for variant in outside]
        elif len(outside) == len(choice.variants or ("",)):
            found.append(choice.name)
    limit = down_limit(len(schedule.nodes), down_nodes_max)
    down: dict[str, frozenset[NodeId]] = {}
    for entry in schedule.entries:
        family = family_of(entry.f)
        during, after = family.down(entry.f, entry.value, schedule.nodes, down.get(family.name, frozenset()))
        count = len(frozenset().union(during, *(nodes for name, nodes in down.items() if name != family.name)))
        if count > limit < len(schedule.nodes):
            found.append(f"{count} nodes down at once (at most {limit})")
            break
        down[family.name] = after
    return found


def down_limit(node_count: int, down_nodes_max: float) -> int:
    """How many nodes may be dead or paused at once: the share, rounded down (2 of 5 for a half)."""
    if not 0.0 <= down_nodes_max <= 1.0:
        raise ValueError(f"down_nodes_max: {down_nodes_max:g} is not a share between 0 and 1")
    return int(node_count * down_nodes_max + 1e-9)


def recorded(ops: Sequence[Op], nodes: Sequence[NodeId], until_ns: int | None = None) -> Schedule:
    """What a run's nemesis did, as a schedule: each op at the time when it began, with the node that "primary" was.

    ops: a history's ops, in order. until_ns: leave out what began later, such as the final heals.
    """
    entries: list[Entry] = []
    opened: Op | None = None
    for op in ops:
        if op.process != NEMESIS:
            continue
        if op.type == "invoke":
            opened = op
        elif opened is not None and (until_ns is None or opened.time <= until_ns):
            entries.append(Entry(opened.time, opened.f, _resolved(opened.value, op.value)))
            opened = None
    return Schedule(nodes=tuple(nodes), entries=tuple(entries))


def _resolved(asked: Any, result: Any) -> Any:
    did = result.get("did") if isinstance(result, dict) else None
    if not isinstance(did, dict):
        return asked
    if asked == {"shape": "primary"} and "grudge" in did:
        return {"shape": "primary", "grudge": did["grudge"]}
    if asked == "primary" and did.get("nodes"):
        return did["nodes"]
    return asked
