"""What a loss of power leaves of a run that goes on: a history that can be read, without its last second at most."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.environments.base import Environment
from harness.run.sinks import FolderSink
from harness.spec import RunSpec
from harness.store import syncing
from harness.store.runs import Store
from histories import jsonl
from histories.op import Op
from nemesis.schedule import Schedule
from targets.tests.power_loss import Disk

WAIT_S = 60.0


class Syncs:
    """Stands for the interval: each sync of the thread is let go by the test, and waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._done = threading.Condition()
        whole = syncing.synced_at_intervals

        def watched(sync: Any) -> Any:
            def counted() -> None:
                sync()
                with self._done:
                    self.count += 1
                    self._done.notify_all()

            return whole(counted, 0.001)

        monkeypatch.setattr("harness.run.sinks.synced_at_intervals", watched)

    def wait(self) -> None:
        """Until a sync that began after this call has ended."""
        with self._done:
            enough = self.count + 2
            assert self._done.wait_for(lambda: self.count >= enough, WAIT_S)


def new_sink(root: Path, *, is_virtual: bool) -> FolderSink:
    sink = FolderSink.create(Store(root / "store"), RunSpec(), "run")
    environment = cast(Environment, SimpleNamespace(is_virtual=is_virtual))
    with sink.opened(environment, Schedule(seed=1, nodes=("n1",), entries=())):
        pass
    return sink


def op(index: int) -> Op:
    return Op(index, index, "invoke", index, "write", None, "x" * index)


def test_a_power_loss_at_any_time_of_a_real_run_leaves_what_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = new_sink(tmp_path, is_virtual=False)
    disk = Disk(sink.directory, monkeypatch)
    syncs = Syncs(monkeypatch)
    with sink.recording() as record:
        for index in range(20):
            if index % 5 == 0:
                syncs.wait()
                left = disk.after_power_loss(tmp_path / f"left-{index}") / "history.jsonl"
                assert [found.index for found in jsonl.read(left).history] == list(range(index))
            record(op(index))
        durable = len(left.read_bytes())
        written = (sink.directory / "history.jsonl").read_bytes()
    # Of what was written since, a power loss may leave any part.
    for size in range(durable, len(written) + 1):
        left.write_bytes(written[:size])
        assert len(jsonl.read(left).history) >= 15


@pytest.mark.parametrize("is_virtual", [True, False])
def test_a_history_is_durable_as_soon_as_the_run_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_virtual: bool
) -> None:
    sink = new_sink(tmp_path, is_virtual=is_virtual)
    disk = Disk(sink.directory, monkeypatch)
    with sink.recording() as record:
        record(op(0))
        beginning = disk.after_power_loss(tmp_path / "beginning") / "history.jsonl"
        assert len(jsonl.read(beginning).history) == 0  # Its header is there.
        threads = [thread for thread in threading.enumerate() if thread.name == "history-sync"]
        assert len(threads) == (not is_virtual)
    end = disk.after_power_loss(tmp_path / "end") / "history.jsonl"
    assert [found.index for found in jsonl.read(end).history] == [0]
    assert not any(thread.is_alive() for thread in threads)


def test_a_disk_that_refuses_is_told_when_the_recording_ends() -> None:
    calls: list[int] = []
    refused = threading.Event()

    def sync() -> None:
        calls.append(1)
        refused.set()
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), syncing.synced_at_intervals(sync, 0.001):
        assert refused.wait(WAIT_S)
    assert len(calls) == 1


def test_what_the_body_raises_comes_before_what_the_disk_refused() -> None:
    refused = threading.Event()

    def sync() -> None:
        refused.set()
        raise OSError(errno.EIO, "Input/output error")

    def body() -> None:
        with syncing.synced_at_intervals(sync, 0.001):
            assert refused.wait(WAIT_S)
            raise ValueError("the body")

    with pytest.raises(ValueError, match="the body"):
        body()
