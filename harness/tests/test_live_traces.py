"""The invariants of a long run, checked while it goes on, and its traces, which do not grow."""

from __future__ import annotations

import fcntl
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from threading import Thread
from typing import BinaryIO

import msgspec
import pytest

from checkers import Validity, Verdict
from checkers.invariants import check_stream
from harness.report.failure import Failure
from harness.report.node_lives import lives
from harness.report.run_traces import RunTraces, traces_of
from harness.run import check, execute, live_traces, plan
from harness.run.live_traces import LiveInvariants, LiveTraces
from harness.spec import RunSpec
from harness.store import traces
from harness.store.runs import RunDirectory, Store
from harness.store.traces import files_of, last_ns, read_traces, whole_span_ns
from histories.tracing import TRACE_FILE, Applied, Role, Started, TraceEvent, TraceRecord, segment_name

RULES = ("election-safety",)
NAMES = ("n1", "n2", "n3")


class Writer:
    """What a node's processes do to its trace (targets/journal.py). The clock is one for all."""

    def __init__(self, nodes: Path, name: str, clock: Callable[[], int]) -> None:
        self.directory = nodes / name
        self.directory.mkdir(parents=True)
        self._name = name
        self._clock = clock
        self._segment = 0
        self._file: BinaryIO | None = None
        self.incarnation = 0

    def start(self) -> None:
        self.incarnation += 1
        self._file = self._opened(TRACE_FILE)
        self.write(Started(self.incarnation, 0))

    def _opened(self, name: str) -> BinaryIO:
        file = (self.directory / name).open("ab", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def write(self, *events: TraceEvent, time_ns: int | None = None) -> None:
        assert self._file is not None
        for event in events:
            at_ns = self._clock() if time_ns is None else time_ns
            self._file.write(msgspec.json.encode(TraceRecord(at_ns, self._name, event)) + b"\n")

    def close_segment(self) -> None:
        old = self._file
        assert old is not None
        self._segment += 1
        self._file = self._opened("trace.new")
        (self.directory / TRACE_FILE).rename(self.directory / segment_name(self._segment, self.incarnation))
        (self.directory / "trace.new").rename(self.directory / TRACE_FILE)
        old.close()

    def kill(self, rest: bytes = b"") -> None:
        """The process ends within a line; the next one ends that."""
        assert self._file is not None
        self._file.write(rest)
        self._file.close()
        self._file = None

    def start_again(self, *, was_cut: bool) -> None:
        self.incarnation += 1
        self._file = self._opened(TRACE_FILE)
        if was_cut:
            self._file.write(b"\n")
        self.write(Started(self.incarnation, 0))


class Cluster:
    """Three writers below `nodes`, all running."""

    def __init__(self, nodes: Path) -> None:
        self.nodes = nodes
        self._ticks = itertools.count(1)
        self.writers = [Writer(nodes, name, lambda: next(self._ticks)) for name in NAMES]
        for writer in self.writers:
            writer.start()

    def end(self) -> None:
        for writer in self.writers:
            if writer._file is not None:
                writer.kill()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_traces, "POLL_S", 0.002)
    monkeypatch.setattr(live_traces, "WATCH_S", 0.002)


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def rows(records: Iterator[TraceRecord]) -> list[tuple[int, str]]:
    return [(record.time, record.node) for record in records]


@pytest.mark.parametrize("seed", range(8))
def test_records_come_live_in_the_order_of_the_files_at_the_end(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    cluster = Cluster(tmp_path)
    live = LiveTraces(tmp_path, NAMES, 1 << 30)
    seen: list[TraceRecord] = []
    reader = Thread(target=lambda: seen.extend(live.records()), daemon=True)
    reader.start()
    is_cut = dict.fromkeys(NAMES, False)
    for _ in range(400):
        writer = rng.choice(cluster.writers)
        name = writer.directory.name
        if writer._file is None:
            if rng.random() < 0.2:
                writer.start_again(was_cut=is_cut[name])
        elif (draw := rng.random()) < 0.8:
            writer.write(Role("follower", rng.randrange(9)))
        elif draw < 0.9:
            writer.close_segment()
        elif draw < 0.93:
            is_cut[name] = rng.random() < 0.5
            writer.kill(b'{"time":3,' if is_cut[name] else b"")
        if rng.random() < 0.05:
            time.sleep(0.003)
    cluster.end()
    live.end()
    reader.join(60)
    assert rows(iter(seen)) == rows(read_traces(tmp_path))
    assert len(seen) > 200


def test_a_node_that_lives_and_is_silent_holds_the_others_back_and_a_dead_one_does_not(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    first, second, third = cluster.writers
    live = LiveTraces(tmp_path, NAMES, 1 << 30)
    seen: list[TraceRecord] = []
    reader = Thread(target=lambda: seen.extend(live.records()), daemon=True)
    reader.start()
    stamped_ns = first._clock()
    second.write(*[Role("follower", 1)] * 50)
    third.write(*[Role("follower", 1)] * 50)
    wait_until(lambda: len(seen) >= 1)
    time.sleep(0.02)
    assert len(seen) <= 3, "the first node has not said that it writes nothing earlier"
    first.write(Role("candidate", 2), time_ns=stamped_ns)  # It was paused between the stamp and the write.
    first.kill()
    wait_until(lambda: len(seen) > 50)  # The second one is silent, too.
    second.kill()
    third.write(*[Role("follower", 2)] * 50)
    third.close_segment()
    wait_until(lambda: len(seen) > 140)
    cluster.end()
    live.end()
    reader.join(60)
    assert rows(iter(seen)) == rows(read_traces(tmp_path))


def grow(cluster: Cluster, rounds: int, per_round: int = 40) -> None:
    for number in range(rounds):
        for writer in cluster.writers:
            writer.write(*[Applied(i, i, 1, None) for i in range(number * per_round, (number + 1) * per_round)])
            writer.close_segment()


def checked(cluster: Cluster, during: Callable[[], None], kept_bytes: int) -> Verdict | None:
    live = LiveInvariants(RULES, cluster.nodes, NAMES, kept_bytes)
    live.start()
    during()
    cluster.end()
    return live.end()


def test_what_was_checked_goes_but_for_the_last_of_it(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    size = 0

    def run() -> None:
        nonlocal size
        cluster.writers[0].write(Role("leader", 1))
        grow(cluster, 20)
        cluster.writers[1].kill()
        cluster.writers[1].start_again(was_cut=False)
        grow(cluster, 20)
        size = last_segment(cluster).stat().st_size

    verdict = checked(cluster, run, kept_bytes=10_000)
    assert verdict is not None
    assert verdict.validity is Validity.VALID, verdict.reason
    for writer in cluster.writers:
        left = sum(path.stat().st_size for path in files_of(writer.directory))
        assert left < 10_000 + 3 * size + 6_000  # Segment 0 has a line for each of the 40.
    found = whole_span_ns(tmp_path)
    assert found is not None
    from_ns, until_ns = found
    assert from_ns > 100
    assert until_ns is None
    told = lives(read_traces(tmp_path), NAMES)
    assert [span.state for span in told["n1"].spans] == ["up", "leader"]
    assert [span.state for span in told["n2"].spans] == ["up", "down", "up"]


def last_segment(cluster: Cluster) -> Path:
    return files_of(cluster.writers[0].directory)[-2]


def test_a_broken_rule_is_seen_live_and_what_shows_it_stays(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)

    def run() -> None:
        grow(cluster, 10)
        cluster.writers[0].write(Role("leader", 7))
        cluster.writers[1].write(Role("leader", 7))
        grow(cluster, 10)

    live = LiveInvariants(RULES, tmp_path, NAMES, 10_000)
    whole: list[TraceRecord] = []
    run()
    whole = list(read_traces(tmp_path))
    live.start()
    wait_until(lambda: live._verdict is not None)
    for _ in range(3):
        grow(cluster, 10)
    cluster.end()
    verdict = live.end()
    assert verdict is not None
    assert verdict.validity is Validity.INVALID
    assert verdict == check_stream(RULES, whole, 3)
    span_ns = whole_span_ns(tmp_path)
    assert span_ns is not None
    assert any(isinstance(record.event, Role) and record.event.term == 7 for record in read_traces(tmp_path))
    broken_ns = next(record.time for record in whole if isinstance(record.event, Role) and record.event.term == 7)
    assert span_ns[0] < broken_ns
    left = sum(path.stat().st_size for path in files_of(cluster.writers[2].directory))
    assert left < sum(len(msgspec.json.encode(record)) for record in whole) + 40_000


@pytest.mark.parametrize("is_broken", [False, True])
@pytest.mark.parametrize("left", ["no folder", "no file", "an empty file", "no line that can be read"])
def test_a_node_that_told_nothing_leaves_the_rules_unknown(left: str, is_broken: bool, tmp_path: Path) -> None:
    """Somebody removed its files while the run went on."""
    cluster = Cluster(tmp_path)
    for writer in cluster.writers[: 2 if is_broken else 1]:
        writer.write(Role("leader", 7))
    silent = cluster.writers[2]
    silent.kill()
    silent_trace = silent.directory / TRACE_FILE
    match left:
        case "no folder" | "no file":
            silent_trace.unlink()
        case "an empty file":
            silent_trace.write_bytes(b"")
        case _:
            silent_trace.write_bytes(b"\xff\n")
    if left == "no folder":
        silent.directory.rmdir()
    cluster.writers = cluster.writers[:2]
    verdict = checked(cluster, lambda: grow(cluster, 3), kept_bytes=1000)
    assert verdict is not None
    assert verdict.validity is Validity.UNKNOWN
    assert "no record of n3 is in the traces" in verdict.reason
    assert ("election-safety" in verdict.reason) == is_broken


def test_a_run_that_closes_no_segment_is_checked_afterwards(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    assert checked(cluster, lambda: cluster.writers[0].write(Role("leader", 1)), 1000) is None
    assert whole_span_ns(tmp_path) is None


def test_an_aborted_run_is_not_said_to_be_checked(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    grow(cluster, 3)
    live = LiveInvariants(RULES, tmp_path, NAMES, 1 << 30)
    live.start()
    wait_until(lambda: live._traces.await_segment())
    verdict = live.end(lambda: True)  # The nodes still hold their files.
    assert verdict is None or verdict.validity is not Validity.INVALID
    cluster.end()


def test_nothing_is_told_of_times_of_which_traces_are_missing() -> None:
    records = [TraceRecord(10**12, "n1", Role("leader", 1))]
    whole, part = RunTraces(records), RunTraces(records, {}, (10**12, 2 * 10**12))

    def failing(time_ns: int | None) -> Failure:
        return Failure(Validity.INVALID, "linearizable", "", "", time_ns=time_ns)

    assert whole.of(failing(5)) == records
    assert not whole.note
    assert "before 1000 s and after 2000 s" in part.note
    assert part.of(failing(10**12 + 10**11)) == records
    for time_ns in (5, 10**12 + 5, 3 * 10**12, None):
        assert part.of(failing(time_ns)) == ()


def test_the_last_time_of_a_file_is_that_of_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / TRACE_FILE
    assert last_ns(path) == 0
    lines = [msgspec.json.encode(TraceRecord(each, "n1", Role("follower", 1))) for each in (5, 7)]
    path.write_bytes(b"\n".join([*lines, b'{"time":9']))
    assert last_ns(path) == 7


@pytest.mark.real
@pytest.mark.long
def test_a_real_run_keeps_its_verdict_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "SEGMENT_BYTES", 8_000)
    monkeypatch.setattr(live_traces, "KEPT_BYTES", 20_000)
    spec = RunSpec(env="local", nodes=NAMES, nemesis=("kill",), interval_s=1.0, time_limit_s=4.0, rate_hz=200.0, seed=5)
    run, result = execute.run_into(Store(tmp_path), plan.prepare(spec))
    assert result.verdict.validity is Validity.VALID, result.verdict.reason
    assert not result.harness
    assert result.verdict.parts["invariants"].stats["committed"] > 10
    assert whole_span_ns(run.nodes) is not None, "nothing was removed"
    assert run.damages() == []
    again = check.analyze(Store(tmp_path), run, run.read_spec())
    assert again.verdict.parts["invariants"] == result.verdict.parts["invariants"]
    assert traces_of(run, NAMES).note
    # A kill -9 of the controller leaves neither.
    run.verdict.unlink()
    run.findings.unlink()
    lost = check.analyze(Store(tmp_path), RunDirectory(run.path), run.read_spec())
    assert lost.verdict.validity is Validity.UNKNOWN
    assert "removed as it went on" in lost.verdict.reason
