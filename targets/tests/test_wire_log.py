"""What a real node writes of its messages: paired by number, in the fields of the simulation's message log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from targets.journal import Journal
from targets.raft.messages import AppendEntriesReply, RequestVote
from targets.timekeeping import NodeClock, Reading
from targets.wire_log import ANSWER, FILE, Entry, WireLog, entry

MEMBERS = ("n1", "n2")


async def written(path: Path, node: str, incarnation: int) -> list[int]:
    clock = NodeClock(Reading.now())
    trace = Journal(path / "trace.jsonl", node, clock, None)
    messages = trace.companion = Journal(path / FILE, node, clock, None, line=entry)
    log = WireLog(messages, node, MEMBERS, incarnation)
    numbers = [log.sent("n2", RequestVote(1, node, 0, 0)) for _ in range(2)]
    log.heard("n2", numbers[0] + ANSWER, RequestVote(1, node, 0, 0))
    log.lost("n2", numbers[1], RequestVote(1, node, 0, 0), "no response in time")
    log.asked(5, "n2", 77)
    log.answered(5, RequestVote(2, "n2", 0, 0))
    log.happened("start", "3 records")
    trace.begin(clock.true_ns() - 1_000)
    await asyncio.sleep(0)
    trace.close()
    return numbers


def test_entries_have_numbers_that_pair_and_wait_for_the_beginning_of_the_run(tmp_path: Path) -> None:
    numbers = asyncio.run(written(tmp_path, "n1", 1))
    lines = [msgspec.json.decode(line, type=Entry) for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert [(line.kind, line.peer, line.number) for line in lines] == [
        ("send", "n2", numbers[0]),
        ("send", "n2", numbers[1]),
        ("deliver", "n2", numbers[0] + ANSWER),
        ("drop", "n2", numbers[1]),
        ("send", "n2", 77 + ANSWER),
        ("start", "", 0),
    ]
    assert lines[3].why == "no response in time"
    assert all(line.time < 10**9 for line in lines)
    assert lines[0].body == {"term": 1, "candidate_id": "n1", "last_log_index": 0, "last_log_term": 0}


def test_no_two_processes_of_any_nodes_share_a_number(tmp_path: Path) -> None:
    found = [
        number
        for node in MEMBERS
        for life in (1, 2, 5000)
        for number in asyncio.run(written(tmp_path / f"{node}-{life}", node, life))
    ]
    assert len({*found}) == len(found)
    assert max(found) + ANSWER < 1 << 53


def test_a_reply_type_is_told_by_its_name() -> None:
    assert entry(3, "n1", ("send", "n2", AppendEntriesReply.__name__, 4, "", None)) == Entry(
        3, "send", "n1", "n2", "AppendEntriesReply", 4
    )
