"""What `themis inspect` prints fits the terminal, and nothing of it is lost by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers import Validity
from checkers.evidence import Table
from harness.report.failure import Failure
from harness.report.inspection import fitted
from harness.report.story import story
from harness.tests.command import themis
from histories.history import History


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store holds an INVALID run of five nodes with their messages."""
    folder = tmp_path_factory.mktemp("inspect")
    words = "test --target raft --bug stale-read --env sim --nemesis partition,kill --time-limit 5 --seed 1"
    ended = themis(*words.split(), "-e", "messages=true", "--store", "store", cwd=folder)
    assert ended.returncode == 1, ended.stderr
    return folder


@pytest.mark.parametrize("columns", [None, 60, 80, 200])
def test_no_line_is_longer_than_the_terminal(columns: int | None, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    told = themis("inspect", "latest", "--store", "store", cwd=run).stdout
    head, diagram = told.split("ms before it:")
    assert "faults: " in head
    assert "o sent" in diagram
    if columns != 60:  # There, the table of what was served and the five columns need more.
        assert all(len(each) <= (columns or 80) for each in told.splitlines() if len(each.split()) > 1)
    joined = " ".join(head.split())
    assert "which nothing from" in joined
    assert "acknowledged at" in joined


def test_a_long_line_is_broken_between_words_and_goes_on_behind_its_mark() -> None:
    text = "  INVALID  linearizable: it does not fit\n    12.345678  >> p4 read -> 7, after 5.000 ms"
    assert fitted(text, 80) == text
    assert fitted(text, 40).split("\n") == [
        "  INVALID  linearizable: it does not fit",
        "    12.345678  >> p4 read -> 7, after",
        "                    5.000 ms",
    ]
    assert fitted("VALID  /a/very/long/path", 10).split("\n") == ["VALID", "  /a/very/long/path"]


def test_a_table_is_cut_within_its_cells() -> None:
    table = Table(("node", "seen", "said"), (("n1", "x" * 90, "y" * 70), ("n2", "short", "too")), "the nodes")
    failure = Failure(checker="odd", promise="", words="odd", validity=Validity.INVALID, tables=(table,))
    lines = story(failure, History([]), 0)
    assert max(map(len, lines)) <= 80
    head, first, second = lines[-3:]
    assert head.index("said") == first.index("y") == second.index("too")
    assert "x…" in first
