"""The script that a PostgreSQL node runs, with programs that stand for PostgreSQL's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from targets.postgres.node import FIND, RUN

FAKES = {
    "pg_basebackup": 'while [ "$1" != -D ]; do shift; done; mkdir "$2"; echo 3 >"$2/era"; touch "$2/demoted"',
    "psql": "echo 't|3'",
    "pg_ctl": "exit 0",
    "postgres": 'touch "$PWD/started"; [ ! -e pgdata/demoted ] || exit 9; exit 7',
}
"""A peer that is the primary of era 3, and whose backup was begun when it was marked."""


@pytest.mark.parametrize("killed_at", ["", "rm -rf old", "touch formed", "sync formed"])
def test_a_copy_of_the_primary_is_never_marked_as_demoted(killed_at: str, tmp_path: Path) -> None:
    """Killed at any step of the swap, the node comes back with its old data and the mark, or with the copy and without it. With
    both it would wait for its peer, which may wait for it."""
    programs, data = tmp_path / "bin", tmp_path / "data"
    programs.mkdir()
    for name, text in FAKES.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    (data / "pgdata").mkdir(parents=True)
    for name, text in (("era", "2"), ("standby.signal", ""), ("demoted", "")):
        (data / "pgdata" / name).write_text(text)
    script = RUN.replace(FIND, f"postgres={programs}/postgres").replace("sleep 0.5", "sleep 0.01")
    script = script.replace("setpriv --pdeathsig=KILL ", "")
    if killed_at:
        assert killed_at in script
        script = script.replace(killed_at, f"kill -9 $$; {killed_at}", 1)
    # The server ends at once; the loop sees that, or the peer, first.
    script = script.replace("if ! kill -0 $server", "if [ -e swapped ] && ! kill -0 $server")
    script = script.replace("      swap\n", "      swap\n      touch swapped\n")
    argv = ["bash", "-c", script, "postgres-node", str(data), "n2", "no", "127.0.0.1", "1", "3"]
    ended = subprocess.run(argv, cwd=data, capture_output=True, timeout=30, check=False)
    era = (data / "pgdata" / "era").read_text().strip()
    assert (data / "pgdata" / "demoted").exists() == (era == "2")
    assert ended.returncode == (-9 if killed_at else 7), ended.stderr
