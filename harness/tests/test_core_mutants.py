"""The mutants of the cores stand in the source, and a hunt for one of them finds it. The hunts for all: docs/mutants.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.tests.core_mutants import page
from harness.tests.core_mutants.mutant import ROOT, CoreMutant, mutated
from harness.tests.core_mutants.table import ALL


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.id)
@pytest.mark.long
def test_its_text_stands_once_and_the_mistake_is_python_that_says_something_else(mutant: CoreMutant) -> None:
    before = ast.dump(ast.parse((ROOT / mutant.file).read_text()))
    assert ast.dump(ast.parse(mutated(mutant))) != before
    assert "Persist" not in mutant.text or "Checkpoint" in mutant.text, (
        "records that are not written: harness/tests/mutants.py"
    )


def test_there_are_enough_of_them() -> None:
    assert len({mutant.id for mutant in ALL}) == len(ALL)
    assert sum(not mutant.harmless for mutant in ALL) >= 60


def test_a_hunt_in_a_process_of_its_own_finds_one() -> None:
    words = ["hunt", "paxos-single:promises-tell-nothing", "1", "60"]
    command = [sys.executable, "-m", "harness.tests.core_mutants", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = msgspec.json.decode(done.stdout, type=page.Ended)
    assert found.is_found
    assert found.by == "chosen-stays-chosen"


def test_the_page_tells_what_was_found_and_what_was_not(tmp_path: Path) -> None:
    ended = [page.Ended(ALL[0].id, True, 3, 1.5, "election-safety"), page.Ended(ALL[1].id, False, 90, 60.0)]
    path = tmp_path / "page.md"
    path.write_text(f"before\n\n{page.BEGIN}\nreplaced\n{page.END}\nafter\n")
    page.write(path, ended)
    text = path.read_text()
    assert "1 of 2 mutants that can do harm were found; the median find took 1.5 CPU s" in text
    assert "replaced" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    page.write(path, ended)
    assert path.read_text() == text
