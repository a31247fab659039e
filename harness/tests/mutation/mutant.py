"""A mutant: one text of one file is replaced in a copy of the project, and the tests of the file's package are run on the copy.

First the test files that the table names are run; when none of their tests fails, all tests of the package are run; the long ones
come last each time. A test that fails or runs into its time-out kills the mutant.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
LEFT_OUT = ("__pycache__", ".venv", ".git", ".hypothesis", ".*_cache", "*.egg-info", "build")
LEFT_OUT_OF_ROOT = ("store",)
"""Runs of whoever works here; harness/store is part of the project."""
PACKAGES = ("histories", "checkers", "nemesis", "targets", "harness")
NO_SHRINKING = "harness.tests.mutation.no_shrinking"
"""A plugin. By its name, because it is for the tests of the copy."""
SHORT = ("-m", "not long and not linux and not soak")
LONG = ("-m", "long and not linux and not soak", "--timeout", "1800")
HANGS_S, LONG_HANGS_S = 1800, 7200
"""More than any package's tests take, on a busy machine too. A test has a time-out of its own, which some loops do not notice."""
PASSED, FAILED, NONE_COLLECTED = 0, 1, 5
"""Exit statuses of pytest."""


class Mutant(NamedTuple):
    """One mistake. name: unique. file: from the root of the project. text: stands there exactly once. instead: what the mistake
    makes of it. why: what would follow if nobody noticed. tests: the files, in the tests of the file's package, that should
    notice."""

    name: str
    file: str
    text: str
    instead: str
    why: str
    tests: tuple[str, ...]

    @property
    def package(self) -> str:
        return self.file.partition("/")[0]


class Stale(Exception):
    """A mutant's text is no longer in its file exactly once: the table has to follow the code."""


class Broken(Exception):
    """The mutant's tests did not run: it does not even import, or a test file of the table is gone."""


def mutated(mutant: Mutant, source: str) -> str:
    """The source with the mistake in it. Raises Stale."""
    count = source.count(mutant.text)
    if count != 1:
        raise Stale(f"{mutant.name}: its text stands {count} times in {mutant.file}:\n{mutant.text}")
    return source.replace(mutant.text, mutant.instead)


def _left_out(directory: str, names: list[str]) -> set[str]:
    patterns = (*LEFT_OUT, *(LEFT_OUT_OF_ROOT if Path(directory) == ROOT else ()))
    return shutil.ignore_patterns(*patterns)(directory, names)


class Workspace:
    """A copy of the project, which takes one mutant at a time."""

    def __init__(self, directory: Path) -> None:
        """`directory` does not exist yet; it then holds the copy."""
        self.directory = directory
        shutil.copytree(ROOT, directory, ignore=_left_out, symlinks=True)
        # Python compares the time of a module, in seconds, with that of its compiled file: too coarse for what changes so fast.
        for package in PACKAGES:
            mode = PycInvalidationMode.CHECKED_HASH
            compileall.compile_dir(directory / package, quiet=1, invalidation_mode=mode)

    @contextmanager
    def holding(self, mutant: Mutant) -> Iterator[None]:
        """Inside, the copy has the mistake. Raises Stale."""
        path = self.directory / mutant.file
        source = path.read_text()
        path.write_text(mutated(mutant, source))
        try:
            yield
        finally:
            path.write_text(source)

    def killer(self, mutant: Mutant, *, is_quick: bool = False) -> str | None:
        """The first test of the mutant's package that fails; None when it survives all. is_quick: of the files that the table names
        only. Raises Stale and Broken."""
        tests = f"{mutant.package}/tests"
        with self.holding(mutant):
            named = [f"{tests}/{file}" for file in mutant.tests]
            for paths in (named,) if is_quick else (named, [tests]):
                for which, hangs_s in ((SHORT, HANGS_S), (LONG, LONG_HANGS_S)):
                    if failure := self.first_failure(paths, which, hangs_s):
                        return failure
            return None

    def first_failure(self, paths: Sequence[str], which: Sequence[str] = SHORT, hangs_s: float = HANGS_S) -> str | None:
        """The first test below these paths that fails, of those that pytest's options choose; None when all pass. Raises Broken."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-rfE",
            "--tb=no",
            *which,
        ]
        try:
            done = subprocess.run(
                [*command, "-p", "no:cacheprovider", "-p", NO_SHRINKING, *paths],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(self.directory)},
                capture_output=True,
                text=True,
                check=False,
                timeout=hangs_s,
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(paths)}: no end within {hangs_s} s"
        if done.returncode in (PASSED, NONE_COLLECTED):
            return None
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        if done.returncode != FAILED or failed is None:
            raise Broken(
                f"pytest {' '.join(paths)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return failed.group(1)
