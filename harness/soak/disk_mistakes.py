"""Mistakes in what real nodes do with their disks, each planted in a copy of the project, in runs of `local` under losses of power.

    python -m harness.soak.disk_mistakes STATE [--runs 5] [--seconds 20] [--mistake NAME]

A mistake gets up to five runs, until one is INVALID. STATE is a file of lines, one for each run that has ended; whoever starts the
command again with the same file goes on where it ended. It needs /dev/fuse, and root or fuse3.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.soak import state_file

ROOT = Path(__file__).parents[2]
PACKAGES = ("histories", "checkers", "nemesis", "targets", "harness")
WAL, OUTBOX, EFFECTS = "targets/wal.py", "targets/outbox.py", "targets/effect_queue.py"
FAULTS = "kill,disk:lose-unsynced,disk:torn-write"
INVALID = 1
_APPEND_SYNC = "            os.fdatasync(self._file)\n"
_OFTEN = ("-o", "snapshot_entries=5")


class Mistake(msgspec.Struct, frozen=True):
    """file: from the root of the project. text: stands there once. instead: what the mistake makes of it. options: of the run.
    missed: why five runs do not find it; "": they do."""

    name: str
    file: str
    text: str
    instead: str
    options: tuple[str, ...] = ()
    missed: str = ""


MISTAKES = (
    Mistake("no append is synced", WAL, _APPEND_SYNC, "            pass\n"),
    Mistake(
        "two of three appends are not synced",
        WAL,
        _APPEND_SYNC,
        "            self._count = getattr(self, '_count', 0) + 1\n"
        "            if self._count % 3 == 0:\n"
        "                os.fdatasync(self._file)\n",
    ),
    Mistake(
        "the directory is synced in place of the file",
        WAL,
        _APPEND_SYNC,
        "            _sync_directory(self.path.parent)\n",
    ),
    Mistake(
        "small frames are not synced",
        WAL,
        _APPEND_SYNC,
        "            if len(frame) > 150:\n                os.fdatasync(self._file)\n",
    ),
    Mistake(
        "appends are synced before they are written",
        WAL,
        "            _write(self._file, frame, self._end)\n            os.fdatasync(self._file)\n",
        "            os.fdatasync(self._file)\n            _write(self._file, frame, self._end)\n",
    ),
    Mistake(
        "what a node says does not wait for its disk",
        EFFECTS,
        "case _ if self.durable_count < self.persisted_count:",
        "case _ if False:",
    ),
    Mistake(
        "a hard state is not waited for",
        EFFECTS,
        "                case Persist():\n                    self.persisted_count += 1\n",
        "                case Persist():\n"
        "                    self.persisted_count += type(effect.record).__name__ != 'HardState'\n",
        missed="a vote must be lost in the tenth of a millisecond before its sync, and another candidate of its term come after",
    ),
    Mistake(
        "a checkpoint is not synced before it takes the log's name",
        WAL,
        "                _write(file, data, 0)\n                os.fsync(file)\n",
        "                _write(file, data, 0)\n",
        _OFTEN,
    ),
    Mistake(
        "a torn end is taken for damage",
        WAL,
        "            if len(payload) < length:\n                return records, rest, None\n",
        "",
    ),
    Mistake(
        "only the first record of a batch is written",
        OUTBOX,
        "        self._work.put((self._queue.persisted_count, batch, is_checkpoint))\n",
        "        self._work.put((self._queue.persisted_count, batch[:1], is_checkpoint))\n",
    ),
)


class Ended(msgspec.Struct, frozen=True):
    """One run that has ended."""

    name: str
    seed: int
    exit_code: int
    reason: str
    lasted_s: float


def planted(mistake: Mistake, directory: Path) -> None:
    """`directory` holds a copy of the project with this mistake. Raises AssertionError when its text is not in the file once."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    path = directory / mistake.file
    source = path.read_text()
    assert source.count(mistake.text) == 1, f"{mistake.name} has to follow the code"
    path.write_text(source.replace(mistake.text, mistake.instead))


def one_run(tree: Path, store: Path, seed: int, options: Sequence[str] = (), seconds: float = 12.0) -> dict[str, Any]:
    """What `themis test --json` of the tree says of a run of Raft under losses of power."""
    words = f"test --env local --target raft --nodes 3 --rate 60 --time-limit {seconds:g} --json --nemesis {FAULTS}"
    ended = subprocess.run(
        [sys.executable, "-m", "harness", *words.split(), "--seed", str(seed), "--store", str(store), *options],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    return data


def reason_of(told: dict[str, Any]) -> str:
    """Why the run is not VALID, by the first checker that says so; "" where it is."""
    parts = told.get("result", {}).get("verdict", {}).get("parts", {})
    for validity in ("invalid", "unknown"):
        for name, part in sorted(parts.items()):
            if part["validity"] == validity:
                return f"{name}: {part.get('reason', '')}"[:300]
    return ""


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--runs", "runs_max", type=click.IntRange(1), default=5, show_default=True, help="Of each at most.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Of each run.")
@click.option("--mistake", "only", multiple=True, help="Only this one, by a part of its name; repeatable.")
def main(state: Path, runs_max: int, seconds: float, only: tuple[str, ...]) -> None:
    """Run what is left; ends with 1 when a mistake was not found."""
    chosen = [mistake for mistake in MISTAKES if not only or any(part in mistake.name for part in only)]
    if not chosen:
        raise click.UsageError(f"--mistake {only[0]}: no mistake has that in its name")
    missed = 0
    for mistake in chosen:
        with tempfile.TemporaryDirectory(prefix="themis-disk-") as temporary:
            tree = Path(temporary, "tree")
            planted(mistake, tree)
            while True:
                before = [each for each in state_file.read(state, Ended) if each.name == mistake.name]
                is_found = any(each.exit_code == INVALID for each in before)
                if is_found or len(before) >= runs_max:
                    break
                seed, began_s = len(before) + 1, time.monotonic()
                told = one_run(tree, Path(temporary, "store"), seed, mistake.options, seconds)
                reason = reason_of(told)
                ended = Ended(mistake.name, seed, told["exit_code"], reason, time.monotonic() - began_s)
                state_file.add(state, ended)
                click.echo(f"{mistake.name}, seed {seed}: exit code {ended.exit_code}, {ended.lasted_s:.0f} s {reason}")
        missed += not is_found
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
