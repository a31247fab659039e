"""Real nodes that log their messages (`-e messages=true`): every arrival has its sending, and the page draws them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from harness.environments.sim.message_log import LogEntry
from harness.errors import UsageError
from harness.report.inspection import Asked, as_text
from harness.report.message_files import missing_before_ns, missing_note, stored_entries
from harness.report.moments import Explanation, Moment
from harness.report.page.messages import windows_of
from harness.report.page.report import run_page
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.test_outside import MODULE
from harness.tests.test_report_page import data_of
from targets import wire_log
from targets.journal import Journal
from targets.timekeeping import NodeClock, Reading

SPEC = RunSpec(
    env="local",
    nodes=("n1", "n2", "n3"),
    time_limit_s=1.5,
    rate_hz=40.0,
    concurrency=3,
    seed=7,
    bugs=("stale-read",),
    env_options={"messages": True},
)


@pytest.mark.real
def test_real_nodes_log_their_messages_and_each_arrival_has_its_sending(tmp_path: Path) -> None:
    run, _ = execute.run_into(Store(tmp_path), plan.prepare(SPEC))
    entries = list(stored_entries(run))
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
    sent = {entry.number: entry for entry in entries if entry.kind == "send"}
    delivered = [entry for entry in entries if entry.kind == "deliver"]
    assert len(delivered) > 20
    for entry in delivered:
        begun = sent[entry.number]
        assert (begun.node, begun.peer, begun.what) == (entry.peer, entry.node, entry.what)
        assert begun.time <= entry.time
    assert {"start", "persist", "request", "reply"} <= {entry.kind for entry in entries}
    found = data_of(run_page(run))
    if found["failures"]:
        assert found["windows"]
        # All of the run: on a busy machine a second may pass without a message between nodes.
        assert "AppendEntries" in as_text(run, Asked(span_ms=600_000.0))


@pytest.mark.parametrize("env", ["local", "netns", "docker", "ssh"])
def test_a_program_outside_the_project_cannot_log_messages(env: str, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, env=env, target=MODULE, bugs=())
    with pytest.raises(UsageError, match=r"messages: .* outside the project"):
        execute.run_into(Store(tmp_path), plan.prepare(spec))


def test_an_answer_that_is_missed_does_not_make_an_arrived_request_lost() -> None:
    entries = [
        LogEntry(10, "send", "n1", "n2", "Ask", 1),
        LogEntry(20, "deliver", "n2", "n1", "Ask", 1),
        LogEntry(30, "drop", "n1", "n2", "Ask", 1, "no response in time"),
        LogEntry(31, "send", "n1", "n2", "Ask", 2),
        LogEntry(40, "drop", "n1", "n2", "Ask", 2, "refused"),
    ]
    told = Explanation("", (), (Moment(50, "wrong", "it fails", ""),))
    (window,) = windows_of(entries, told)
    assert [(arrow[2], arrow[5]) for arrow in window.arrows] == [(20, ""), (None, "refused")]


def test_a_node_keeps_its_latest_messages_and_readers_begin_where_none_is_missing(tmp_path: Path) -> None:
    run, steps = Store(tmp_path).create(SPEC, "long"), 60

    async def node(name: str, times_ns: Iterable[int], segment_bytes: int) -> None:
        journal = Journal(
            run.nodes / name / "messages.jsonl", name, _Clock(times_ns), 0, segment_bytes, 2, line=wire_log.entry
        )
        log = wire_log.WireLog(journal, name, ("n1", "n2"), 1)
        for _ in range(steps):
            log.happened("persist", "Record")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        journal.close()

    asyncio.run(node("n1", range(0, 20 * steps, 20), 200))
    asyncio.run(node("n2", range(10, 20 * steps, 20), 100_000))
    kept = sorted((run.nodes / "n1").glob("messages-*.jsonl"))
    assert len(kept) == 2
    assert not list((run.nodes / "n2").glob("messages-*.jsonl"))
    first = msgspec.json.decode(kept[0].read_bytes().splitlines()[0], type=LogEntry)
    assert first.time > 20 * steps // 2
    assert missing_before_ns(run) == first.time
    assert [entry.time for entry in stored_entries(run)] == list(range(first.time, 20 * steps, 10))
    assert "removed their messages" in missing_note(run)


class _Clock(NodeClock):
    """Tells these times, one after the other."""

    def __init__(self, times_ns: Iterable[int]) -> None:
        super().__init__(Reading.now())
        self._times_ns = iter(times_ns)

    def true_ns(self) -> int:
        return next(self._times_ns)
