"""The checker of docs/checkers.md works as the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from checkers.evidence import Findings
from checkers.verdict import Validity
from harness.tests.command import SIM, themis_process
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import ClaimChecker, find_checker
from histories.builder import h

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkers.md"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the page's mine.py, which can be imported."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "mine.py").write_text("\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def test_the_pages_checker_finds_what_it_is_for(mine: Path) -> None:
    checker = find_checker("mine:never_back")
    run = WorkloadContext(None, ("n1",), 1)
    reads = " | ".join(f"p0 invoke read | p0 ok read {value}" for value in (1, 2))
    assert checker.check(h(reads), run).validity is Validity.VALID
    assert checker.check(h("p0 invoke write 1 | p0 ok write 1"), run).validity is Validity.UNKNOWN
    verdict = checker.check(h(reads + " | p0 invoke read | p0 ok read 1"), run)
    assert verdict.reason == "process 0 read 1 of key None, then 2, then 1 again"
    (finding,) = verdict.evidence_of(Findings).findings
    assert [note.index for note in finding.ops] == [1, 3, 5]
    (row,) = sys.modules["mine"].ROWS
    assert isinstance(row, ClaimChecker)
    assert row.claim == "monotonic-reads"


def test_the_pages_command_runs(mine: Path) -> None:
    ended = themis_process(*SIM, "--checker", "mine:never_back", "--store", mine / "store", cwd=mine)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "VALID    never_back" in ended.stdout
