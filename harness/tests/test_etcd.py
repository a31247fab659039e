"""The example of docs/targets.md, as a stranger would run it: etcd, broken and found valid, and nothing of it is left.

Marked linux although `local` needs no root: .ci/linux-setup installs etcd.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from checkers.windows import fault_windows
from harness.environments.real import labelled_processes
from harness.tests import kernel
from histories import jsonl

PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text()
EXAMPLE = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class Etcd" in code)


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(180)
@pytest.mark.parametrize("env", ["local", "netns"])
def test_etcd_is_cut_and_killed_and_found_valid(env: str, tmp_path: Path) -> None:
    before = kernel.traces()
    (tmp_path / "etcd_target.py").write_text(EXAMPLE)
    entries = [
        (1.0, "start-partition", {"shape": "one", "grudge": {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}}),
        (3.0, "stop-partition", None),
        (4.0, "kill", ["n2", "n3"]),
        (5.0, "start", ["n2"]),
        (6.0, "start", ["n3"]),
    ]
    planned = [{"time_ns": round(s * 1e9), "f": f, "value": value} for s, f, value in entries]
    (tmp_path / "faults.json").write_text(json.dumps({"version": 1, "nodes": ["n1", "n2", "n3"], "entries": planned}))
    argv = [
        sys.executable,
        "-P",
        "-c",
        "from harness.cli import main; main()",
        "test",
        "--target",
        "etcd_target:TARGET",
    ]
    argv += ["--env", env, "--nodes", "3", "--schedule", "faults.json", "--time-limit", "9", "--rate", "60", "--json"]
    ended = subprocess.run([*argv, "--store", "store"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = Path(json.loads(ended.stdout)["run"])
    folder = folder if folder.is_absolute() else tmp_path / folder
    history = jsonl.read(folder / "history.jsonl").history
    windows = {window.name.partition(":")[0]: window for window in fault_windows(history)}
    assert windows.keys() == {"partition", "kill"}
    assert all(window.status == "installed" and window.lifted_ns is not None for window in windows.values())
    cut = next(fault for fault in kernel.faults(folder) if fault["f"] == "start-partition")
    assert cut["evidence"]["answers"] == 2, "n2 and n3 still reach each other"
    # Every node was formed with one list of members: etcd's own ids of them agree.
    clusters = {
        found
        for node in ("n1", "n2", "n3")
        for found in re.findall(r"to cluster (\w+)", (folder / "nodes" / node / "node.log").read_text())
    }
    assert len(clusters) == 1
    assert not kernel.leaked(before)
    assert not [process for process in labelled_processes.labelled() if process.command.startswith("etcd")]


def test_the_example_is_a_target_that_lacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd_example.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    from targets import registry

    target = registry.find("etcd_example:TARGET")
    assert (target.name, target.claimed_model("kv", target.option_type())) == ("etcd", "linearizable")
