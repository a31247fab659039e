"""Which processes of runs are leftovers, and that nobody else's process is ended in their place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import msgspec
import pytest

from harness.environments.leftovers import OrphanProcess
from harness.environments.real import labelled_processes
from harness.environments.real.labelled_processes import CONTROLLER, RUN, Labelled

pytestmark = pytest.mark.real

RUN_ID = f"labelled-{os.getpid()}"
GONE = "4194305:1"
"""The controller of a run that was killed: no pid is as large."""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One of a run whose controller is gone."""
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, RUN: RUN_ID, CONTROLLER: GONE})
    yield left
    left.kill()
    left.wait()


def found() -> Labelled:
    (one,) = labelled_processes.labelled(RUN_ID)
    return one


def test_a_process_whose_controller_is_gone_is_ended(process: subprocess.Popen[bytes]) -> None:
    assert (found().pid, found().is_orphan) == (process.pid, True)
    assert OrphanProcess(found()).remove() is None
    assert labelled_processes.state(process.pid) == "dead"


def test_who_has_the_pid_of_one_that_was_found_is_left_alone(process: subprocess.Popen[bytes]) -> None:
    """Between the look and the removal a person may have been asked, and the engine of the containers too."""
    earlier = msgspec.structs.replace(found(), identity=f"{process.pid}:1")
    assert OrphanProcess(earlier).remove() is None
    assert labelled_processes.end_found([earlier]) == []
    assert labelled_processes.state(process.pid) == "running"


def test_a_process_in_a_container_of_its_own_is_no_leftover(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its controller may live in there, under a number that means another process here."""
    usual: Callable[..., str] = labelled_processes.pid_namespace

    def elsewhere(pid: int | str = "self") -> str:
        return "another" if pid == process.pid else usual(pid)

    monkeypatch.setattr(labelled_processes, "pid_namespace", elsewhere)
    assert not found().is_orphan
    assert process.pid not in [left.pid for left in labelled_processes.find_leftovers()]
