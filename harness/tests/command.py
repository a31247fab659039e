"""The command as a process of its own, run to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

SIM = ("test", "--env", "sim", "--time-limit", "5", "--seed", "3")


def themis(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, timeout=90, **more
    )


def assert_refused(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 254, one clear message, no traceback."""
    assert ended.returncode == 254, (ended.returncode, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stdout + ended.stderr
    for word in words:
        assert word in ended.stderr, ended.stderr
