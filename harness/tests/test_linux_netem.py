"""What tc netem does, in a kernel that has it: the same tests and a whole run, in user-mode Linux. Minutes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.tests import kernel, uml

pytestmark = [pytest.mark.linux, pytest.mark.long, pytest.mark.real, pytest.mark.timeout(900)]

KINDS = "slow,reorder,corrupt,duplicate,loss,rate"


def test_every_kind_of_bad_link_does_what_it_says(tmp_path: Path) -> None:
    wanted = "bad_links or add_up or narrow or duplicated or slow_link or reordering or corrupting"
    options = [
        "-m",
        "linux",
        "-k",
        f"netns and ({wanted})",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'inside'}",
    ]
    status, said = uml.run(["-m", "pytest", "harness/tests/test_linux_kernel.py", *options], tmp_path, 600)
    assert status == 0, said
    assert re.search(r"\b12 passed", said), said


def test_a_whole_run_under_every_kind_of_bad_link(tmp_path: Path) -> None:
    store = tmp_path / "store"
    options = ["--nodes", "3", "--concurrency", "3", "--rate", "10", "--time-limit", "40", "--nemesis-interval", "20"]
    # One slow processor runs all nodes: they need more time to hear of each other than a real machine's.
    options += ["--target-option", "election_ms_min=1000", "--target-option", "election_ms_max=2000", "--seed", "3"]
    command = ["-m", "harness", "test", "--env", "netns", "--nemesis", KINDS, "--json", "--store", str(store), *options]
    status, said = uml.run(command, tmp_path, 600)
    assert status == 0, said
    done = kernel.faults((store / "latest").resolve())
    for kind in KINDS.split(","):
        starts = [fault for fault in done if fault["f"] == f"start-{kind}"]
        assert any(fault["status"] == "installed" and kind in json.dumps(fault["evidence"]) for fault in starts), kind
