"""The runs of a store as rows of a table, read again only when a run's files changed; a running one with its counts so far."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from harness.report.page.report import REPORT
from harness.store.files import regular, whole
from harness.store.runs import TIME_FORMAT, RunDirectory, Store
from histories.printing import line

ROWS_MAX = 500
REASON_MAX = 300
BLOCK_BYTES = 1 << 20

SORTS = ("time", "name", "target", "workload", "faults", "verdict", "anomaly", "seed", "ops", "duration")


class _Spec(msgspec.Struct):
    """What a row shows of spec.json."""

    target: str = ""
    workload: str = ""
    env: str = ""
    nemesis: tuple[str, ...] = ()
    bugs: tuple[str, ...] = ()
    seed: int = 0


class _Part(msgspec.Struct):
    validity: str
    reason: str = ""
    parts: dict[str, _Part] = {}


class _Result(msgspec.Struct):
    """What a row shows of verdict.json; the evidence is passed over."""

    verdict: _Part
    version: int = 1
    counts: dict[str, int] = {}
    interrupted: bool = False
    harness: list[Any] = []


class Row(msgspec.Struct, frozen=True):
    """One run, or one campaign.

    time: as its folder is called. verdict: valid, invalid, unknown, running, unfinished or unreadable. anomaly: its first reason.
    ok, fail, info: how its client ops ended. duration_s: from its beginning until its history was last written; None when that is
    not known. runs, planned: of a campaign, whose seed is its first one.
    """

    name: str
    time: str
    target: str = ""
    workload: str = ""
    env: str = ""
    faults: str = ""
    bugs: str = ""
    seed: int = 0
    verdict: str = ""
    anomaly: str = ""
    ok: int = 0
    fail: int = 0
    info: int = 0
    duration_s: float | None = None
    has_report: bool = False
    kind: Literal["run", "campaign"] = "run"
    runs: int = 1
    planned: int = 1

    @property
    def ops(self) -> int:
        """All that ended."""
        return self.ok + self.fail + self.info


class Campaigns(Protocol):
    """The campaigns of a store, which are made above this floor (harness.campaign.pages)."""

    def rows(self) -> list[Row]:
        """A row for each."""
        ...

    def details(self, name: str, time: str) -> dict[str, Any] | None:
        """What one found; None when there is none of that name and time."""
        ...


class _Counter:
    """Counts how the ops of a growing history ended, reading only what is new."""

    def __init__(self) -> None:
        self.offset = 0
        self.counts = {"ok": 0, "fail": 0, "info": 0}

    def read_on(self, path: Path) -> None:
        with contextlib.suppress(OSError), regular(path).open("rb") as file:
            file.seek(self.offset)
            while block := file.read(BLOCK_BYTES):
                lines, newline, _ = block.rpartition(b"\n")
                if not newline:
                    return
                for each in self.counts:
                    self.counts[each] += lines.count(f'"type":"{each}","process":'.encode())
                    self.counts[each] -= lines.count(f'"type":"{each}","process":"nemesis"'.encode())
                self.offset += len(lines) + 1
                file.seek(self.offset)


class Listing:
    """All rows of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[Path, tuple[Any, Row]] = {}
        self._counters: dict[Path, _Counter] = {}

    def rows(self) -> list[Row]:
        """Every run, the newest first."""
        runs = list(self.store.runs())
        rows = [self.row(run) for run in runs]
        self._known = {run.path: self._known[run.path] for run in runs if run.path in self._known}
        return sorted(rows, key=lambda row: (row.time, row.name), reverse=True)

    def row(self, run: RunDirectory) -> Row:
        """The row of one run."""
        stamp = tuple(_stamp(path) for path in (run.spec, run.verdict, run.path / REPORT))
        known = self._known.get(run.path)
        if known is not None and known[0] == stamp and known[1].verdict not in ("running", "unfinished"):
            return known[1]
        row = self._read(run)
        self._known[run.path] = (stamp, row)
        return row

    def _read(self, run: RunDirectory) -> Row:
        verdict, anomaly, counts = "unfinished", "no verdict; `themis analyze` makes one", {}
        spec, problem = _decoded(run.spec, _Spec)
        result, damage = _decoded(run.verdict, _Result)
        if result is not None:
            verdict, anomaly, counts = result.verdict.validity, _reason(result), result.counts
        elif damage:
            verdict, anomaly = "unreadable", damage
        elif run.is_held():
            verdict, anomaly = "running", ""
        if verdict in ("running", "unfinished"):
            counter = self._counters.setdefault(run.path, _Counter())
            counter.read_on(run.history)
            counts = counter.counts
        else:
            self._counters.pop(run.path, None)
        spec = spec or _Spec()
        return Row(
            line(run.path.parent.name, 200),
            line(run.path.name, 60),
            line(spec.target, 60),
            line(spec.workload, 60),
            line(spec.env, 30),
            line(", ".join(spec.nemesis), 120),
            line(", ".join(spec.bugs), 120),
            spec.seed,
            line(verdict, 20),
            line(problem or anomaly, REASON_MAX),
            counts.get("ok", 0),
            counts.get("fail", 0),
            counts.get("info", 0),
            _duration_s(run),
            (run.path / REPORT).is_file(),
        )


def selected(
    rows: Iterable[Row], query: str, verdict: str, sort: str, *, descending: bool, kind: str = ""
) -> list[Row]:
    """The rows that hold every word of the query and have the verdict and the kind, if any is given, in this order."""
    words = query.lower().split()

    def fits(row: Row) -> bool:
        names = (
            row.name,
            row.time,
            row.target,
            row.workload,
            row.env,
            row.faults,
            row.bugs,
            row.verdict,
            row.anomaly,
            row.kind,
        )
        text = f"{' '.join(names)} seed:{row.seed}"
        return (not verdict or row.verdict == verdict) and all(word in text.lower() for word in words)

    found = [row for row in rows if fits(row) and kind in ("", row.kind)]
    key = {"ops": lambda row: row.ops, "duration": lambda row: row.duration_s or 0.0}.get(
        sort, lambda row: getattr(row, sort)
    )
    return sorted(found, key=key, reverse=descending)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _decoded(path: Path, kind: type[Any]) -> tuple[Any, str]:
    """What the file holds; or None, and why it cannot be read where it is there.

    Without the look at the nesting that others take (histories.json_text), nine tenths of the time of a large verdict: only plain
    fields are kept, and the decoder itself ends at Python's limit.
    """
    try:
        return msgspec.json.decode(whole(path).read_bytes(), type=kind), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, f"{path.name}: {error}"


def _reason(result: _Result) -> str:
    if result.verdict.reason:
        return result.verdict.reason
    return "the harness failed" if result.harness else ""


def _duration_s(run: RunDirectory) -> float | None:
    try:
        began = datetime.datetime.strptime(run.path.name[:15], TIME_FORMAT).replace(tzinfo=datetime.UTC)
        return max(0.0, float(run.history.stat().st_mtime) - began.timestamp())
    except (OSError, ValueError):
        return None
