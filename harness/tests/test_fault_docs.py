"""docs/faults.md: its table is the code's, and its example is a fault as good as a built-in one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.windows import fault_windows
from harness.environments import fault_table
from harness.environments.registry import names
from harness.run.plan import remedies
from histories import jsonl
from nemesis import schedule
from nemesis.registry import families

PAGE = (Path(__file__).parents[2] / "docs/faults.md").read_text()
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
ENTRY_POINTS = re.findall(r"```ini\n\[options.entry_points\]\n(.*?)=\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_table_is_that_of_the_code() -> None:
    assert fault_table.markdown() in PAGE
    assert sorted(fault_table.ABILITIES) == names()


def test_what_is_offered_at_best_is_what_the_environments_say_of_themselves() -> None:
    from harness.environments.local.capabilities import LocalPackets
    from harness.environments.real.capabilities import NodeDisks

    def disks(is_bounded: bool) -> NodeDisks:
        made = NodeDisks(None, None, None, None, lost_by_wipe=(), is_bounded=is_bounded)  # type: ignore[arg-type]
        made.can_lose()
        return made

    local = fault_table.ABILITIES["local"].offer
    assert (local.packet_kinds, local.disk_kinds) == (LocalPackets.kinds, disks(is_bounded=False).kinds)
    assert fault_table.ABILITIES["netns"].offer.disk_kinds == disks(is_bounded=True).kinds


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example as an installed distribution: its module, its metadata, its entry point."""
    root = tmp_path_factory.mktemp("site")
    (root / "themis_reboot.py").write_text(EXAMPLE)
    metadata = root / "themis_reboot-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: themis-reboot\nVersion: 1.0\n")
    group, points = ENTRY_POINTS
    lines = "".join(f"{line.strip()}\n" for line in points.splitlines())
    (metadata / "entry_points.txt").write_text(f"[{group.strip()}]\n{lines}")
    return root


def themis(installed: Path | None, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*([str(installed)] if installed else []), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize(
    ("env", "nemesis"),
    [
        ("sim", "reboot,kill,partition"),
        pytest.param("local", "reboot", marks=[pytest.mark.long, pytest.mark.real]),
        ("sim", "themis_reboot.py"),
    ],
    ids=["sim", "local", "by path"],
)
def test_the_example_runs_as_a_plugin_and_its_schedule_again(
    tmp_path: Path, installed: Path, env: str, nemesis: str
) -> None:
    if nemesis == "themis_reboot.py":
        # Named by its path, and no entry point there.
        site = tmp_path / "site" / "mine"
        site.mkdir(parents=True)
        (site / "faults.py").write_text(EXAMPLE)
        installed, nemesis = site.parent, "mine.faults:RebootFamily"
    limits = ("--time-limit", "6", "--nemesis-interval", "2", "--seed", "5", "--rate", "50")
    ended = themis(installed, "test", "--env", env, "--nemesis", nemesis, *limits, "--store", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    run = tmp_path / "latest"
    history = jsonl.read(run / "history.jsonl").history
    reboots = [window for window in fault_windows(history) if window.name == "reboot"]
    assert reboots
    assert all(window.status == "installed" and window.lifted_ns is not None for window in reboots)
    assert {"reboot.kill", "reboot.start"} <= {op.f for op in history.nemesis()}
    again = themis(installed, "test", "--env", "sim", "--schedule", run / "schedule.json", *limits, "--store", tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    planned = msgspec.json.decode((run / "schedule.json").read_bytes(), type=schedule.Schedule)
    done = jsonl.read(tmp_path / "latest" / "history.jsonl").history
    begun = [op.f for op in done.nemesis() if op.type == "invoke"]
    assert begun[: len(planned.entries)] == [entry.f for entry in planned.entries]


@pytest.mark.long
def test_a_plugin_that_cannot_be_used_is_one_message_and_254(tmp_path: Path, installed: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.py").write_text("raise RuntimeError('no luck')\n")
    for name, words in (
        ("mine.broken:Family", "the fault mine.broken:Family: RuntimeError: no luck"),
        ("mine.absent:Family", "No module named 'mine.absent'"),
        ("reboot", "unknown fault 'reboot'"),
    ):
        ended = themis(tmp_path, "test", "--env", "sim", "--nemesis", name, "--store", tmp_path)
        assert ended.returncode == 254, ended.stderr
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr
    points = installed / "themis_reboot-1.0.dist-info" / "entry_points.txt"
    good = points.read_text()
    try:
        points.write_text("[themis.faults]\nreboot = themis_reboot:Missing\n")
        ended = themis(installed, "test", "--env", "sim", "--nemesis", "kill", "--store", tmp_path)
    finally:
        points.write_text(good)
    assert ended.returncode == 254, ended.stderr
    assert "entry point themis.faults: reboot = themis_reboot:Missing" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_refused_fault_says_what_there_is_and_which_environments_can(tmp_path: Path) -> None:
    ended = themis(None, "test", "--env", "local", "--nemesis", "disk:slow", "--store", tmp_path)
    assert ended.returncode == 254
    assert "it has no disk kind 'slow' (its disk kinds are bitflip, truncate, wipe)" in ended.stderr
    assert "environments that can, some given what docs/faults.md says: sim" in ended.stderr


def test_what_the_machines_lack_is_told_for_the_fault_that_needs_it() -> None:
    class Machines:
        lacking = ("the kernel has no sch_netem",)
        clocks_lacking = ("libfaketime is not installed",)

    cluster: Any = Machines()
    clock = remedies(cluster, "netns", (families()["clock"], "drift"))
    assert "libfaketime" in clock
    assert "sch_netem" not in clock
    slow = remedies(cluster, "netns", (families()["slow"], ""))
    assert "sch_netem" in slow
    assert "libfaketime" not in slow
    assert "local, sim, ssh" in slow.replace("docker, ", "")
    assert remedies(cluster, "netns", None) == ""
