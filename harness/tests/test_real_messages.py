"""Real nodes that log their messages (`-e messages=true`): every arrival has its sending, and the page draws them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.environments.sim.message_log import LogEntry
from harness.errors import UsageError
from harness.report.inspection import Asked, as_text
from harness.report.message_files import stored_entries
from harness.report.moments import Explanation, Moment
from harness.report.page.messages import windows_of
from harness.report.page.report import run_page
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.test_outside import MODULE
from harness.tests.test_report_page import data_of

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
        assert "AppendEntries" in as_text(run, Asked(span_ms=1_000.0))


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
