"""In CI what is missing is a failure, not a skip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "by a mark": "import pytest\n@pytest.mark.skipif(True, reason='no engine')\ndef test_x(): pass\n",
    "in the test": "import pytest\ndef test_x(): pytest.skip('no engine')\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef x(): pytest.skip('no engine')\ndef test_x(x): pass\n",
    "a module": "import pytest\npytest.skip('no engine', allow_module_level=True)\n",
}
GOOD = "import pytest\ndef test_x(): pass\n@pytest.mark.xfail(raises=KeyError)\ndef test_y(): raise KeyError\n"


def run(directory: Path, text: str, *more: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(text)
    (directory / "pytest.ini").write_text("[pytest]\n")
    plugin = ("-p", "harness.tests.skips_fail")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", f"--rootdir={directory}", *more, directory],
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("kind", TESTS)
@pytest.mark.long
def test_a_skip_fails_and_says_why(tmp_path: Path, kind: str) -> None:
    ended = run(tmp_path, TESTS[kind])
    assert ended.returncode in (1, 2), ended.stdout + ended.stderr
    assert "no engine: nothing may be skipped here" in ended.stdout


@pytest.mark.long
def test_a_skip_fails_in_the_workers_of_xdist_too(tmp_path: Path) -> None:
    ended = run(tmp_path, TESTS["in the test"], "-n", "1")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "no engine: nothing may be skipped here" in ended.stdout


def test_what_runs_is_left_alone(tmp_path: Path) -> None:
    ended = run(tmp_path, GOOD)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed, 1 xfailed" in ended.stdout
