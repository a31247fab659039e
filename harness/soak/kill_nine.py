"""Kills the controller of a run at a random moment, many times, and looks at what is left.

    python -m harness.soak.kill_nine [--kills 200] [--env local,sim,netns] [--seed 1] [--side-by-side 2]

After each kill: 5 s later nothing is left but what `themis cleanup` then removes (it is called where something is); the history
is readable; the next run in the same store starts and ends with a verdict. In `sim` it is a sweep on two workers that is killed.
Prints a line for each kill, and the counts; the exit code is 1 when one of them was not as it should be. `netns` needs root, and
that nobody else makes networks meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from harness.soak import machine
from harness.store.runs import RunDirectory
from histories import jsonl
from histories.wellformed import MalformedHistory

PATIENCE_S = 5.0
START_S_MAX = 60.0
COMMAND_S_MAX = 600.0
"""For `cleanup` and for the next run: a busy machine is slow, and what hangs is found all the same."""
TIMED_OUT = 124
"""As `timeout` says it."""
LENGTH_S = 4.0
"""Of the main phase of a run that is killed; the moment is within LATEST_S of its first sign of life."""
LATEST_S = 8.0
SMALL = ("--nodes", "3", "--rate", "50", "--nemesis", "partition,kill", "--nemesis-interval", "0.5")


class Kill(msgspec.Struct, frozen=True):
    """One kill. moment_s: after the run's first sign of life. phase: how far it was. waiting: what was left after the patience.
    problems: what was not as it should be."""

    env: str
    number: int
    moment_s: float
    phase: str
    waiting: tuple[str, ...]
    problems: tuple[str, ...]


def command(env: str, store: Path, seed: int) -> list[str]:
    """The run, or sweep, that will be killed."""
    base = [sys.executable, "-m", "harness", "test", "--env", env, *SMALL]
    if env == "sim":
        return [*base, "--seeds", "1..1000000", "--jobs", "2", "--time-limit", "30"]
    return [*base, "--time-limit", f"{LENGTH_S:g}", "--seed", str(seed), "--store", str(store)]


def next_run(env: str, store: Path) -> list[str]:
    """A short run in the same place."""
    base = [sys.executable, "-m", "harness", "test", "--env", env, *SMALL, "--json"]
    if env == "sim":
        return [*base, "--seeds", "1..2", "--jobs", "2", "--time-limit", "2"]
    return [*base, "--time-limit", "1", "--store", str(store)]


def runs(store: Path) -> list[Path]:
    """The folders of all runs in the store."""
    return sorted(path.parent for path in store.glob("*/*/spec.json") if not path.parent.is_symlink())


def phase_of(store: Path) -> str:
    """What the run was doing, by its files."""
    folders = runs(store)
    if not folders:
        return "start"
    run = RunDirectory(folders[-1])
    if run.verdict.exists():
        return "ended"
    if not run.history.exists():
        return "bring up"
    said = run.log.read_text(errors="replace") if run.log.exists() else ""
    done = [word for word in ("heal", "quiet", "final ops") if f"themis: {word}" in said]
    return done[-1] if done else "main"


def kill_once(env: str, number: int, seed: int, root: Path) -> Kill:
    """Start, kill, wait, look, clean up, look again, read, run again."""
    rng = random.Random(f"{seed}/{env}/{number}")
    place = root / f"{env}-{number}"
    store, temporary = place / "store", place / "tmp"
    temporary.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    before = frozenset(machine.network()) if env == "netns" else frozenset[str]()
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(
            command(env, store, number), env=environment, stdout=output, stderr=output, start_new_session=True
        )
    sweep = f"sweep-{process.pid}"

    def is_mine(run_id: str) -> bool:
        return run_id == sweep or run_id in {RunDirectory(run).run_id for run in runs(store)}

    def seen() -> Iterator[str]:
        yield from machine.processes(is_mine)
        yield from machine.semaphores(process.pid)
        yield from machine.temporary_files(temporary)
        if env == "netns":
            yield from machine.network()

    deadline_s = time.monotonic() + START_S_MAX
    while not (runs(store) or any(machine.processes(is_mine))) and process.poll() is None:
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.01)
    moment_s = rng.uniform(0, LATEST_S)
    time.sleep(moment_s)
    phase = phase_of(store) if env != "sim" else "sweep"
    process.send_signal(signal.SIGKILL)  # To the controller alone: the rest has to notice by itself.
    status = process.wait()
    waiting = machine.left(seen, before, PATIENCE_S)
    problems = []
    if status not in (-signal.SIGKILL, 0, 2):  # A run may have been over by then.
        said = (place / "output").read_text(errors="replace")
        problems.append(f"it ended by itself with {status}: {said[-300:]}")
    if waiting:
        cleaned = _run([sys.executable, "-m", "harness", "cleanup"], environment)
        if cleaned.returncode:
            problems.append(f"cleanup ended with {cleaned.returncode}: {(cleaned.stdout + cleaned.stderr)[-300:]}")
        problems += [f"left after cleanup: {line}" for line in machine.left(seen, before, PATIENCE_S)]
    for folder in runs(store):
        problems += _unreadable(folder)
    ended = _run(next_run(env, store), environment)
    if ended.returncode not in (0, 2):  # A second of load may prove nothing: then it is vacuous.
        problems.append(f"the next run ended with {ended.returncode}: {ended.stderr[-300:]}")
    problems += [f"left by the next run: {line}" for line in machine.left(seen, before, PATIENCE_S)]
    if not problems:
        shutil.rmtree(place)
    return Kill(env, number, moment_s, phase, tuple(waiting), tuple(problems))


def _run(argv: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_S_MAX)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, TIMED_OUT, "", f"it took more than {COMMAND_S_MAX:g} s")


def _unreadable(folder: Path) -> Iterator[str]:
    """What cannot be read of a run that was cut off."""
    run = RunDirectory(folder)
    try:
        json.loads(run.spec.read_text())
        if run.verdict.exists():
            run.read_result()
        if run.history.exists():
            jsonl.read(run.history)
    except (OSError, ValueError, MalformedHistory) as error:
        yield f"{folder}: {error}"


@click.command()
@click.option("--kills", default=200, show_default=True, help="In all environments together.")
@click.option("--env", "envs", default="local,sim,netns", show_default=True)
@click.option("--seed", default=1, show_default=True, help="Decides the moments.")
@click.option(
    "--side-by-side", default=2, show_default=True, help="So many at once, of local and sim; netns one by one."
)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Gets every kill.")
def kill_nine(kills: int, envs: str, seed: int, side_by_side: int, path: Path | None) -> None:
    """Kill controllers with SIGKILL and look at what is left."""
    names = envs.split(",")
    found: list[Kill] = []
    root = Path(tempfile.mkdtemp(prefix="themis-kill-nine-"))
    shared = [(name, number) for number in range(kills) if (name := names[number % len(names)]) != "netns"]
    alone = [("netns", number) for number in range(kills) if names[number % len(names)] == "netns"]
    for group, threads in ((shared, side_by_side), (alone, 1)):
        with ThreadPoolExecutor(threads) as executor:
            for kill in executor.map(lambda each: kill_once(each[0], each[1], seed, root), group):
                found.append(kill)
                said = "; ".join(kill.problems) or f"well; {len(kill.waiting)} things were left to cleanup"
                click.echo(f"{kill.env} {kill.number}: {kill.moment_s:.2f} s, {kill.phase}: {said}")
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    for env in dict.fromkeys(names):
        mine = [kill for kill in found if kill.env == env]
        phases = ", ".join(f"{phase} {count}" for phase, count in Counter(kill.phase for kill in mine).most_common())
        bad = sum(bool(kill.problems) for kill in mine)
        left = sum(bool(kill.waiting) for kill in mine)
        click.echo(
            f"{env}: {len(mine)} kills ({phases}); {left} left something to cleanup; {bad} were not as they should be"
        )
    is_bad = any(kill.problems for kill in found)
    if not is_bad:
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(1 if is_bad else 0)


if __name__ == "__main__":
    kill_nine()
