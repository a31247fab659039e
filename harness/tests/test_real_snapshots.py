"""Snapshots between real nodes: the log on disk stays short however long the run is, and who was down is sent a snapshot."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from checkers.verdict import Validity
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.store.traces import read_traces
from histories.tracing import Committed, Installed, Snapshotted

ENTRIES = 20
LOG_BYTES_MAX = 100_000
"""A checkpoint holds the state, a few keys here, and up to twice the entries between two snapshots."""


@pytest.mark.long
@pytest.mark.real
def test_the_log_stays_short_and_who_was_down_is_sent_a_snapshot(tmp_path: Path) -> None:
    spec = RunSpec(
        env="local",
        nodes=("n1", "n2", "n3"),
        target_options={"snapshot_entries": ENTRIES, "snapshot_chunk_chars": 500},
        nemesis=("kill",),
        interval_s=3.0,
        time_limit_s=15.0,
        rate_hz=0.0,
        concurrency=12,
        seed=5,
    )
    run, result = execute.run_into(Store(tmp_path), plan.prepare(spec), keep_data=True)
    assert result.verdict.validity is Validity.VALID, result.verdict.reason
    events = [record.event for record in read_traces(run.nodes)]
    committed = max(event.index for event in events if isinstance(event, Committed))
    snapshots = {event.index for event in events if isinstance(event, Snapshotted)}
    assert len(snapshots) > 10
    assert max(snapshots) > committed - 3 * ENTRIES
    assert any(isinstance(event, Installed) for event in events), "nobody was sent a snapshot"
    for node in spec.nodes:
        with tarfile.open(run.nodes / node / "data.tar.gz") as data:
            size = data.getmember("data/wal.log").size
        assert 0 < size < LOG_BYTES_MAX, f"{node}: {size} bytes after {committed} entries"
