"""Checks the invariants of a long run while it goes on, and removes what was checked of the nodes' traces: so neither the disk nor
the check grows with the run.

Nodes whose files stand in the run's folder write their traces in segments (targets/journal.py). When the first one is closed, a
thread begins to read all traces from their beginning, in the very order in which a check afterwards would. A run that closes no
segment is checked afterwards, from whole files.

The order needs a bound: a record counts once no other node can still write an earlier one. A node that lives may, until it has
written a later one; one that is dead (nobody holds the lock of its file) cannot. So what a paused or silent node does not write
lets the others' files grow meanwhile, until it goes on.

Of each node's checked segments the last KEPT_BYTES stay, for people and for the page of a failure; and those that were there when a
rule was seen to be broken. What tells of starts and roles stays in segment 0. Traces of which something was removed are not checked
again: the verdict is in findings.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import msgspec

from checkers import Verdict, guarded
from checkers.invariants import Observers
from checkers.invariants.observers import CHECKER, NO_SHARDS
from harness.run.silent_nodes import despite_silence
from harness.store.files import regular
from harness.store.traces import FILE, files_of, last_ns, segments_of, silent_nodes
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.tracing import TraceRecord, segment_name

KEPT_BYTES = 64 << 20
"""Of a node, beside what is not checked yet: more than a run of 100,000 ops writes."""

POLL_S = 0.2
WATCH_S = 1.0
"""How often a run is looked at that has closed no segment."""

RECORDS_AT_ONCE = 64
BREATH_S = 0.0002
"""The clients run in the same process: after so many records they get their turn."""

_STARTED, _ROLE = b'"kind":"started"', b'"kind":"role"'


class LiveInvariants:
    """The verdict of `rules` on the traces below `nodes`, made while they are written.

    names: of the cluster's nodes. kept_bytes: of a node's checked segments, so much stays at least. shard_by_node: as for
    checkers.invariants.Observers.
    """

    def __init__(
        self,
        rules: Sequence[str],
        nodes: Path,
        names: Sequence[str],
        kept_bytes: int,
        shard_by_node: Mapping[str, str] = NO_SHARDS,
    ) -> None:
        self._rules = tuple(rules)
        self._shard_by_node = shard_by_node
        self._nodes = nodes
        self._names = tuple(names)
        self._traces = LiveTraces(nodes, names, kept_bytes)
        self._verdict: Verdict | None = None
        self._thread = threading.Thread(target=self._work, name="live-traces", daemon=True)

    def start(self) -> None:
        """Reads along from here on."""
        self._thread.start()

    def end(self, is_aborted: Callable[[], bool] = lambda: False) -> Verdict | None:
        """The nodes have ended: reads the rest, until somebody aborts that. The verdict is UNKNOWN where one of them told nothing.
        None where no segment was closed, so that the whole traces are there to be checked, and where there are no rules."""
        self._traces.end()
        while self._thread.is_alive():
            self._thread.join(POLL_S)
            if is_aborted():
                self._traces.is_aborted = True
        if self._verdict is None:
            return None
        # Of what was removed, the record of a node's start is still there.
        return despite_silence(self._verdict, silent_nodes(self._nodes, self._names))

    def _work(self) -> None:
        if self._traces.await_segment():
            verdict = guarded(CHECKER, self._check)
            self._verdict = verdict if self._rules else None
            # A rule is broken, or a check crashed: no more is checked, and the files stay bounded all the same.
            with contextlib.suppress(OSError):
                self._traces.pin()
                for _ in self._traces.records():
                    pass

    def _check(self) -> Verdict:
        observers = Observers(self._rules, len(self._names), shard_by_node=self._shard_by_node)
        for number, record in enumerate(self._traces.records(), 1):
            violation = observers.observe(record)
            if violation is not None:
                return observers.verdict(violation)
            if number % RECORDS_AT_ONCE == 0 and not self._traces.is_over:
                time.sleep(BREATH_S)
        if self._traces.is_aborted:
            return Verdict.unknown("interrupted before all traces were read", CHECKER)
        return observers.verdict(None)


class LiveTraces:
    """The records of all nodes in order of time, as they are written; belongs to the one thread that reads them."""

    def __init__(self, nodes: Path, names: Sequence[str], kept_bytes: int) -> None:
        self._streams = [_Stream(nodes / name, self, kept_bytes) for name in sorted(names)]
        self._merged: Iterator[tuple[int, TraceRecord | None]] | None = None
        self._over = threading.Event()
        self.is_aborted = False
        """Set from outside: nothing more is to be read."""

    @property
    def is_over(self) -> bool:
        """Whether no node writes any more."""
        return self._over.is_set()

    def end(self) -> None:
        """No node writes any more."""
        self._over.set()

    def end_ns(self) -> int:
        """The latest time at the end of any trace: what a process that starts from now on writes is later."""
        return max(stream.end_ns() for stream in self._streams)

    def wait(self) -> None:
        """Returns after a while, or when the run is over."""
        self._over.wait(POLL_S)

    def await_segment(self) -> bool:
        """Returns when a node has closed a segment: True; or when the run is over and none has: False."""
        while True:
            is_over = self._over.wait(WATCH_S)
            if any(stream.has_segment() for stream in self._streams):
                return True
            if is_over:
                return False

    def records(self) -> Iterator[TraceRecord]:
        """The records that were not read yet, until the run is over and all are read. Raises OSError."""
        if self._merged is None:
            self._merged = heapq.merge(*(stream.entries() for stream in self._streams), key=itemgetter(0))
        for _, record in self._merged:
            if self.is_aborted:
                return
            if record is not None:
                yield record

    def pin(self) -> None:
        """The segments that are there now are not removed."""
        for stream in self._streams:
            stream.pin()


class _Stream:
    """The trace of one node, read as it is written."""

    def __init__(self, directory: Path, traces: LiveTraces, kept_bytes: int) -> None:
        self._directory = directory
        self._traces = traces
        self._kept_bytes = kept_bytes
        self._checked: dict[int, int] = {}
        """Number of a segment that was read -> its bytes, of those that are there."""
        self._pinned = 0
        self._latest_ns = 0
        self._bound_ns = 0
        self._told_s = 0.0

    def has_segment(self) -> bool:
        """Whether a segment was closed, as far as that can be seen now: this process may have too many files open."""
        try:
            return bool(segments_of(self._directory))
        except OSError:
            return False

    def pin(self) -> None:
        """See LiveTraces."""
        self._checked = {}
        self._pinned = max(segments_of(self._directory), default=0) + 1

    def entries(self) -> Iterator[tuple[int, TraceRecord | None]]:
        """(time ns, record) in the node's own order; None for a record: it writes none that is earlier."""
        decode = msgspec.json.Decoder(TraceRecord).decode
        number = 1
        while True:
            is_over = self._traces.is_over
            bound_ns = self._traces.end_ns()
            file = self._opened(number)
            if file is None:
                if is_over:
                    return
                self._bound_ns = max(self._bound_ns, bound_ns)
                yield self._none_before()
                continue
            with file:
                for line in self._lines(file, number):
                    if line is None:
                        yield self._none_before()
                        continue
                    try:
                        record = decoded(decode, line, FILE_DEPTH_MAX)
                    except msgspec.DecodeError:
                        continue
                    self._latest_ns = max(self._latest_ns, record.time)
                    yield self._latest_ns, record
                size = os.fstat(file.fileno()).st_size
            if number not in segments_of(self._directory):
                return  # The last one, and the run is over.
            self._note_checked(number, size)
            number += 1

    def _none_before(self) -> tuple[int, None]:
        """An entry that says: what this node, which is dead, will write is later than `_bound_ns`.

        It lets others' records pass that wait for this node's; so after one, a while is waited for more of them.
        """
        if time.monotonic() - self._told_s < POLL_S:
            self._traces.wait()
        self._told_s = time.monotonic()
        return max(self._bound_ns, self._latest_ns), None

    def _opened(self, number: int) -> BinaryIO | None:
        """The file of this segment, closed or not yet; None where the node has not begun it."""
        while True:
            closed = segments_of(self._directory).get(number)
            try:
                file = regular(closed or self._directory / FILE).open("rb")
            except FileNotFoundError:
                if number in segments_of(self._directory):
                    continue  # It was closed meanwhile.
                return None
            if closed is not None or number not in segments_of(self._directory):
                return file
            file.close()  # It was closed meanwhile, and this may be the next one.

    def _lines(self, file: BinaryIO, number: int) -> Iterator[bytes | None]:
        """The lines of this segment until it is closed and read; None each time that the node is dead and has written no more."""
        while True:
            # Asked before the file is read to its end: what is closed gets no more.
            is_last_look = self._traces.is_over or number in segments_of(self._directory)
            begin = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break  # The node is about to write the rest, or was killed.
                begin += len(line)
                yield line
            end = file.tell()
            file.seek(begin)
            if is_last_look:
                return
            bound_ns = self._traces.end_ns()
            if self._is_dead(file) and os.fstat(file.fileno()).st_size == end:
                self._bound_ns = max(self._bound_ns, bound_ns)
                yield None
            else:
                self._traces.wait()

    def end_ns(self) -> int:
        """The time of the last record that the trace has now; 0 where it has none."""
        for path in reversed(files_of(self._directory)):
            if found := last_ns(path):
                return found
        return 0

    def _is_dead(self, file: BinaryIO) -> bool:
        """Whether no process writes the file, which is the end of the trace."""
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        try:
            return os.path.samestat(os.fstat(file.fileno()), (self._directory / FILE).stat())
        except FileNotFoundError:
            return False  # The next one is being begun.

    def _note_checked(self, number: int, size: int) -> None:
        """This segment was read: the oldest ones that were go, until no more than enough is left."""
        if number <= self._pinned:
            return
        self._checked[number] = size
        while len(self._checked) > 1 and sum(self._checked.values()) > self._kept_bytes:
            oldest = next(iter(self._checked))
            del self._checked[oldest]
            self._remove(segments_of(self._directory)[oldest])

    def _remove(self, segment: Path) -> None:
        """Of the segment there is left when the node started, when it was there last before that, and when it led."""
        left = []
        before = b""
        with segment.open("rb") as file:
            for line in file:
                if _STARTED in line:
                    left += [before, line]
                elif _ROLE in line:
                    left.append(line)
                before = line
        with (self._directory / segment_name(0, 0)).open("ab") as kept:
            kept.writelines([*left, before])
        segment.unlink()
