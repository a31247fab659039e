"""Transcripts of the commit protocols. After a change that is meant, `python -m targets.tests.test_twopc_transcripts --rewrite`
writes what is told now; read the diff."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from targets.tests.test_paxos_transcripts import played
from targets.tests.twopc_transcripts import CommitScene

DIRECTORY = Path(__file__).parents[1] / "twopc" / "testdata"
FILES = sorted(DIRECTORY.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    assert played(text, CommitScene) == text


def test_there_are_transcripts() -> None:
    assert {path.stem for path in FILES} >= {"commit", "coordinator_dies", "termination", "three_phase"}


def main() -> None:
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m targets.tests.test_twopc_transcripts --rewrite")
    for path in FILES:
        path.write_text(played(path.read_text(), CommitScene))


if __name__ == "__main__":
    main()
