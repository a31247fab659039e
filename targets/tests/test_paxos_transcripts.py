"""Transcripts of the Paxos cores, as text whose diff shows a change of behaviour.

A file holds blocks: commands of targets.tests.paxos_transcripts, `----`, what they tell, an empty line. After a change that is
meant, `python -m targets.tests.test_paxos_transcripts --rewrite` writes what is told now; read the diff.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from targets.tests.paxos_transcripts import Scene

DIRECTORY = Path(__file__).parents[1] / "paxos" / "testdata"
FILES = sorted(DIRECTORY.glob("*.txt"))


def played(text: str, new_scene: Callable[[], Scene] = Scene) -> str:
    """The transcript with what its commands tell now."""
    scene = new_scene()
    blocks = []
    for block in text.strip().split("\n\n"):
        if "----" not in block:
            blocks.append(block)  # A comment.
            continue
        commands = block.partition("----")[0].strip().splitlines()
        told = [line for command in commands if not command.startswith("#") for line in scene.perform(command)]
        blocks.append("\n".join([*commands, "----", *told]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    assert played(text) == text


def test_there_are_transcripts() -> None:
    assert {path.stem for path in FILES} >= {"duel", "gap", "catch_up", "snapshot", "lease"}


def main() -> None:
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m targets.tests.test_paxos_transcripts --rewrite")
    for path in FILES:
        path.write_text(played(path.read_text()))


if __name__ == "__main__":
    main()
