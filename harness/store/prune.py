"""Finds the runs of a store that may go and what that frees, and removes them. Runs that are in use are never touched."""

from __future__ import annotations

import datetime
import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

import msgspec

from harness.errors import UsageError
from harness.store import node_data
from harness.store.runs import TIME_FORMAT, RunDirectory, Store

Ending = Literal["valid", "invalid", "unknown", "unfinished", "unreadable"]
"""What a run came to; unfinished: it was cut off; unreadable: its verdict.json is damaged, or of another version."""

ENDINGS: tuple[Ending, ...] = get_args(Ending)


class Choice(msgspec.Struct, frozen=True):
    """Which runs are chosen: those that meet all of these. None, or no ending: that criterion does not count.

    older_than_s: since the run began. beyond_newest: the run is not one of so many newest runs of its name. only_data: only what is
    kept of the nodes' data directories goes, and runs without any are not chosen.
    """

    older_than_s: float | None = None
    beyond_newest: int | None = None
    endings: frozenset[Ending] = frozenset()
    only_data: bool = False


class Chosen(msgspec.Struct, frozen=True):
    """A run that was chosen. size_bytes: what its removal frees. in_use: why it must stay; empty when it may go."""

    run: RunDirectory
    ending: Ending
    age_s: float
    size_bytes: int
    in_use: str = ""

    @property
    def title(self) -> str:
        """Name and time, as `themis list` shows them."""
        return f"{self.run.path.parent.name}/{self.run.path.name}"


def choose(store: Store, choice: Choice, now: datetime.datetime, busy: Collection[str] = ()) -> list[Chosen]:
    """The runs that meet the choice, oldest first. busy: ids of runs that still have processes."""
    found = []
    seen: Counter[str] = Counter()
    for run in sorted(store.runs(), key=lambda run: run.path.name, reverse=True):
        seen[run.path.parent.name] += 1
        if choice.beyond_newest is not None and seen[run.path.parent.name] <= choice.beyond_newest:
            continue
        age_s = (now - began(run)).total_seconds()
        if choice.older_than_s is not None and age_s < choice.older_than_s:
            continue
        ending = ending_of(run)
        if choice.endings and ending not in choice.endings:
            continue
        doomed = list(node_data.kept(run.nodes)) if choice.only_data else [run.path]
        if doomed:
            in_use = "it is running" if run.is_held() else "its processes are still there" if run.run_id in busy else ""
            found.append(Chosen(run, ending, age_s, sum(map(size_of, doomed)), in_use))
    return found[::-1]


def remove(store: Store, chosen: Chosen, *, only_data: bool = False) -> str | None:
    """Remove the run, or its nodes' data; return why it is still there, or None."""
    problems: list[str] = []
    if chosen.in_use or chosen.run.is_held():
        return chosen.in_use or "it is running"

    def note(_function: object, path: str, error: tuple[type, BaseException, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):  # Somebody else removes it as well.
            problems.append(f"{path}: {getattr(error[1], 'strerror', None) or error[1]}")

    for doomed in list(node_data.kept(chosen.run.nodes)) if only_data else [chosen.run.path]:
        if doomed.is_dir():
            shutil.rmtree(doomed, onerror=note)
            continue
        try:
            doomed.unlink(missing_ok=True)
        except OSError as error:
            problems.append(f"{doomed}: {error.strerror or error}")
    if not only_data and not problems:
        try:
            store.remove_empty(chosen.run)
        except OSError as error:  # Of a link that led to it.
            problems.append(str(error))
    return problems[0] if problems else None


def began(run: RunDirectory) -> datetime.datetime:
    """When the run began: its folder's name says it; else how old its spec is."""
    try:
        return datetime.datetime.strptime(f"{run.path.name.partition('.')[0]}Z", f"{TIME_FORMAT}%z")
    except ValueError:
        return datetime.datetime.fromtimestamp(run.path.stat().st_mtime, datetime.UTC)


def ending_of(run: RunDirectory) -> Ending:
    """How the run ended."""
    try:
        result = run.read_result()
    except UsageError:
        return "unreadable"
    return "unfinished" if result is None else result.verdict.validity.value


def size_of(path: Path) -> int:
    """Bytes on the disk, of a file or of all below a folder; a file that cannot be read counts nothing."""
    total = 0
    for place in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        try:
            total += place.lstat().st_blocks * 512
        except OSError:
            continue
    return total
