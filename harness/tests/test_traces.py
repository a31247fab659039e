"""The stream of trace records that the rules read from a run's files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.report.message_files import missing_note, stored_entries
from harness.store.runs import RunDirectory
from harness.store.traces import FILE, gap_of, read_traces
from histories.tracing import Role, TraceRecord, segment_name


def write(nodes: Path, node: str, times: list[int], rest: bytes = b"") -> None:
    (nodes / node).mkdir(parents=True)
    lines = [msgspec.json.encode(TraceRecord(time, node, Role("follower", time))) for time in times]
    (nodes / node / FILE).write_bytes(b"\n".join([*lines, rest]))


def test_records_come_by_time_and_each_node_keeps_its_own_order(tmp_path: Path) -> None:
    write(tmp_path, "n1", [1, 5, 4, 9])  # A process whose clock was behind that of the one before it.
    write(tmp_path, "n2", [2, 5, 6])
    told = [(record.node, record.time) for record in read_traces(tmp_path)]
    assert told == [("n1", 1), ("n2", 2), ("n1", 5), ("n1", 4), ("n2", 5), ("n2", 6), ("n1", 9)]


def test_what_comes_before_the_run_keeps_its_order_too(tmp_path: Path) -> None:
    """Nodes start before the run begins, at times below 0. They were all merged as if at 0: n2's start came after n1's commit."""
    write(tmp_path, "n1", [-30, -10, -20, 7])
    write(tmp_path, "n2", [-40, -15, 5])
    told = [(record.node, record.time) for record in read_traces(tmp_path)]
    assert told == [("n2", -40), ("n1", -30), ("n2", -15), ("n1", -10), ("n1", -20), ("n2", 5), ("n1", 7)]


def test_a_line_that_was_cut_off_and_a_kind_that_nobody_knows_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "n1", [1], b'{"time":2,"node":"n1","event":{"kind":"sneezed"}}\n{"time":3,"no')
    assert [record.time for record in read_traces(tmp_path)] == [1]


def test_a_record_of_a_time_that_no_clock_tells_is_left_out(tmp_path: Path) -> None:
    """A file of records and one of messages. Hundreds of digits are no float, and whoever tells the time in seconds failed."""
    run = RunDirectory(tmp_path)
    damaged = b'{"time":1%s,"node":"n1","event":{"kind":"role","role":"follower","term":1}}\n' % (b"0" * 400)
    write(run.nodes, "n1", [1, 2], damaged)
    assert [record.time for record in read_traces(run.nodes)] == [1, 2]
    assert gap_of(run.nodes, ["n1"]).endswith(":3: not a record of a trace")
    entry = b'{"time":%d%s,"kind":"timer","node":"n1"}\n'
    closed = run.nodes / "n1" / segment_name(2, 1, "messages")
    closed.write_bytes(entry % (9, b"0" * 400) + entry % (7, b""))
    (run.nodes / "n1" / "messages.jsonl").write_bytes(entry % (8, b""))
    assert [each.time for each in stored_entries(run)] == [7, 8]
    assert "from before 0 s" in missing_note(run)


def test_one_record_of_each_node_is_read_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, "n1", list(range(1000)))
    stream = read_traces(tmp_path)
    assert next(stream).time == 0
    (tmp_path / "n1" / FILE).write_bytes(b"")  # The rest of it, but for what the file buffered, was not read yet.
    assert len(list(stream)) < 999
