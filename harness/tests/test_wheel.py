"""The wheel: what is in it, and that it works in an empty environment, from another directory, with and without a compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.tests.test_history_docs import EXAMPLES

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
NO_COMPILER = dict.fromkeys(("CC", "CXX", "LDSHARED", "LDCXXSHARED"), "false")
SYMBOLS_BYTES_MAX = 1_000_000
"""A native module of ours has 0.4 MB without its symbols and 4.8 MB with them."""


def ran(*command: str | Path, code: int = 0, **more: object) -> str:
    """What the command says, which must end with this code."""
    ended = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=600,
        **more,  # type: ignore[call-overload]
    )
    assert ended.returncode == code, (command, ended.returncode, ended.stdout, ended.stderr)
    return f"{ended.stdout}{ended.stderr}"


class Installed:
    """A wheel of the sources, and an environment that nothing but it and what it needs is in."""

    def __init__(self, directory: Path, build_environment: Mapping[str, str]) -> None:
        source = directory / "source"
        for name in ("harness", "nemesis", "checkers", "targets", "histories"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.cpp"))
        for name in ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CHECKERS_PURE")}
        self.said = ran(
            *(sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", directory, source),
            env={**clean, **build_environment},
        )
        [self.wheel] = directory.glob("*.whl")
        venv.create(directory / "env", with_pip=True)
        self._bin = directory / "env/bin"
        self._clean = clean
        self.elsewhere = directory / "elsewhere"
        self.elsewhere.mkdir()
        ran(self._bin / "python", "-m", "pip", "install", "--quiet", self.wheel, cwd=self.elsewhere, env=clean)

    def themis(self, *arguments: str | Path, code: int = 0) -> str:
        """What the installed command says, which must end with this code."""
        return ran(self._bin / "themis", *arguments, code=code, cwd=self.elsewhere, env=self._clean)


# Each wheel is made once, by one worker of pytest-xdist.
MADE = [pytest.param(name, marks=pytest.mark.xdist_group(f"wheel, {name}")) for name in ("compiler", "no compiler")]


@pytest.fixture(scope="module", params=MADE)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Installed, bool]:
    """The wheel, and whether it was made with a compiler."""
    has_compiler = request.param == "compiler"
    return Installed(tmp_path_factory.mktemp("wheel"), {} if has_compiler else NO_COMPILER), has_compiler


def test_the_wheel_carries_what_runs_and_nothing_else(installed: tuple[Installed, bool]) -> None:
    made, has_compiler = installed
    with zipfile.ZipFile(made.wheel) as wheel:
        files = [file for file in wheel.infolist() if ".dist-info/" not in file.filename]
    names = {file.filename for file in files}
    assert not {name for name in names if "/tests/" in name or "testdata" in name}
    assert {Path(name).suffix for name in names} <= {".py", ".so", ".typed", ".js", ".css", ".html", ".txt", ""}
    assert {"page.html", "page.css", "timeline.js", "serve.html", "serve.js"} <= {Path(name).name for name in names}
    templates = {f"harness/scaffold/templates/{path.name}" for path in (ROOT / "harness/scaffold/templates").iterdir()}
    assert len(templates) > 3
    assert templates <= names
    assert {"harness/environments/docker/Dockerfile", "harness/cli/__init__.py", "targets/node.py"} <= names
    native = [file for file in files if file.filename.endswith(".so")]
    assert len(native) == (6 if has_compiler else 0)
    assert all(file.file_size < SYMBOLS_BYTES_MAX for file in native)
    assert "importable" not in made.said
    assert "SetuptoolsDeprecationWarning" not in made.said
    assert "absent from the `packages` configuration" not in made.said


def test_doctor_says_which_core_runs(installed: tuple[Installed, bool]) -> None:
    made, has_compiler = installed
    found = {finding["subject"]: finding for finding in json.loads(made.themis("doctor", "--json"))}
    assert found["native core"]["is_ok"] is has_compiler


def test_the_simulation_the_checkers_and_a_planted_bug(installed: tuple[Installed, bool]) -> None:
    made, _ = installed
    sim = ("test", "--env", "sim", "--time-limit", "10", "--nemesis", "partition,kill", "--seed", "7")
    assert "VALID" in made.themis(*sim)
    assert "INVALID" in made.themis(*sim, "--bug", "stale-read", code=1)
    assert "INVALID" in made.themis("inspect", "latest")
    assert "VALID" in made.themis("check", "store/latest/history.jsonl", "--model", "cas-register", code=1)
    (made.elsewhere / "history.edn").write_text(EXAMPLES["edn"])
    assert "VALID" in made.themis("check", "history.edn", "--model", "cas-register")


def test_processes_of_this_machine(installed: tuple[Installed, bool]) -> None:
    made, _ = installed
    # Slow enough for a machine that is busy with other tests.
    calm = ("--rate", "20", "--client-timeout", "30", "--time-limit", "4", "--nodes", "3", "--concurrency", "3")
    assert "VALID" in made.themis("test", "--env", "local", *calm, "--seed", "1")
