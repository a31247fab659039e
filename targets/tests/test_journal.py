"""A node's trace file, over the lives of its processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from histories.tracing import Role, Served, Started, TraceEvent, TraceRecord
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
