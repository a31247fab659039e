"""`themis doctor` and `cleanup`: what this machine can do, and what earlier runs left on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import doctor
from harness.environments import leftovers
from harness.environments import registry as environments
from harness.environments.real import faketime, labelled_processes


def test_every_environment_is_examined_and_the_embedded_ones_can_run() -> None:
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert {f"env {name}" for name in environments.names()} <= findings.keys()
    assert findings["env local"].is_ok
    assert findings["env sim"].is_ok
    assert all(finding.remedy or finding.is_ok or finding.detail for finding in findings.values())


def test_the_table_of_faults_shows_what_each_environment_can_do_here() -> None:
    able = [doctor.Finding(f"env {name}", name != "docker", "") for name in environments.names()]
    lines = doctor.fault_lines(able)
    header, *rows = [line.split() for line in lines if line[1:2] != ":"]
    assert header == ["fault", "sim", "local", "netns", "docker", "ssh"]
    by_name = {" ".join(row[:-5]): row[-5:] for row in rows}
    assert by_name["kill"] == ["yes", "yes", "yes", "no", "yes"]
    assert by_name["corrupt"][:2] == ["yes", "no"]
    letter = by_name["corrupt"][2]
    assert f"{letter}: root, tc, kernel with sch_netem" in lines


def test_the_pure_twin_is_named_when_it_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKERS_PURE", "1")
    finding = doctor.native_core()
    assert not finding.is_ok
    assert "CHECKERS_PURE" in finding.remedy


def test_libfaketime_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faketime, "FOLDERS", (str(tmp_path),))
    finding = doctor.faked_clocks()
    assert (finding.is_ok, finding.remedy) == (False, "apt-get install libfaketime")
    (tmp_path / "libfaketime.so.1").touch()
    assert doctor.faked_clocks() == doctor.Finding("libfaketime", True, str(tmp_path / "libfaketime.so.1"))


@pytest.mark.real
def test_a_process_whose_controller_is_gone_is_found_and_removed(tmp_path: Path) -> None:
    # A controller that starts a labelled process, tells its pid, and is gone.
    program = (
        "import os, subprocess, sys\n"
        "from harness.environments.real import labelled_processes\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "    env=os.environ | labelled_processes.labels('themis-test-orphan'),\n"
        "    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    pid = int(told.stdout)
    try:
        mine = [found for found in leftovers.find() if f"process {pid} " in found.description]
        assert len(mine) == 1
        assert mine[0].remove() is None
        assert labelled_processes.state(pid) == "dead"
    finally:
        if labelled_processes.state(pid) != "dead":
            os.kill(pid, 9)
