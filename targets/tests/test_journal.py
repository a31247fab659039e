"""A node's trace file, over the lives of its processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from histories.tracing import Role, Served, Started, TraceEvent, TraceRecord, segment_of
from targets.journal import Journal
from targets.timekeeping import NodeClock, Reading


def process(path: Path, *events: TraceEvent) -> int:
    """One process writes these events; its incarnation."""

    async def write() -> int:
        journal = Journal(path, "n1", NodeClock(Reading.now()), 0)
        journal.write(Started(journal.incarnation, 0))
        for event in events:
            journal.write(event)
        journal.close()
        return journal.incarnation

    return asyncio.run(write())


def test_each_process_of_a_node_has_the_next_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    assert [process(path, Role("follower", 1)) for _ in range(3)] == [1, 2, 3]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    process(path, Role("leader", 2), Served(7, 3))
    records = [msgspec.json.decode(line, type=TraceRecord) for line in path.read_bytes().splitlines()]
    assert [record.event for record in records] == [Started(1, 0), Role("leader", 2), Served(7, 3)]


def test_a_line_cut_off_by_a_kill_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    process(path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert process(path) == 2
    lines = path.read_bytes().splitlines()
    assert msgspec.json.decode(lines[-1], type=TraceRecord).event == Started(2, 0)
    assert lines[0] == whole.rstrip()


def test_a_long_trace_is_in_segments_and_incarnations_go_on(tmp_path: Path) -> None:
    async def life(count: int) -> int:
        journal = Journal(tmp_path / "trace.jsonl", "n1", NodeClock(Reading.now()), 0, segment_bytes=400)
        journal.write(Started(journal.incarnation, 0))
        for number in range(count):
            journal.write(Role("follower", number))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        journal.close()
        return journal.incarnation

    assert [asyncio.run(life(count)) for count in (30, 1, 30)] == [1, 2, 3]
    segments = sorted(tmp_path.glob("trace-*.jsonl"))
    numbers = [segment_of(path.name) for path in segments]
    assert [found[0] for found in numbers if found is not None] == list(range(1, len(segments) + 1))
    assert {found[1] for found in numbers if found is not None} == {1, 3}
    for path in segments[:-1]:
        path.unlink()  # They were checked.
    assert asyncio.run(life(1)) == 4
    assert 400 <= segments[-1].stat().st_size < 700
    text = b"".join(path.read_bytes() for path in [segments[-1], tmp_path / "trace.jsonl"])
    assert [msgspec.json.decode(line, type=TraceRecord).node for line in text.splitlines()]


def test_starts_are_counted_over_the_blocks_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.journal._BLOCK_BYTES", 7)
    path = tmp_path / "trace.jsonl"
    assert [process(path, Role("follower", 1)) for _ in range(4)] == [1, 2, 3, 4]
    path.write_bytes(path.read_bytes() + b'{"time":1')
    assert process(path) == 5
    assert b'{"time":1\n' in path.read_bytes()
