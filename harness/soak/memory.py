"""The memory of a long run over time: controller, supervisor and nodes, beside how far the run is.

    python -m harness.soak.memory sim --hours 12 --rate 50 [--csv FILE]
    python -m harness.soak.memory local --hours 0.5 --rate 1000 [--csv FILE]

It starts `themis test` and looks at its processes from outside. `sim` counts virtual hours. One row of the series (CSV) comes for
each look: real and virtual time, the size of the history and of the nodes' traces, and the resident memory of each process in MB.
At the end it says by how much each process grew from a quarter of the main phase to its end, and what the check took at most.
"""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
import msgspec

from harness.environments.real import labelled_processes
from harness.store.runs import RunDirectory
from harness.store.traces import directories, files_of

CONTROLLER = "controller"
LAST_BYTES = 1 << 16
"""The end of a history that certainly holds a whole op."""
EARLY = 0.25
"""From this part of the main phase on nothing may grow: before it caches fill, and the history's first blocks are made."""


class Look(msgspec.Struct, frozen=True):
    """What was there at one time.

    run_s: time of the run, virtual in the simulation. trace_mb: of all nodes, on the disk. rss_mb: process -> resident memory.
    """

    wall_s: float
    run_s: float
    history_mb: float
    trace_mb: float
    rss_mb: dict[str, float]


def rss_mb(pid: int) -> float | None:
    """The resident memory of a process; None when there is none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb(pid: int) -> float:
    """The most that a process ever had resident; 0.0 when there is none any more."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def last_time_s(history: Path) -> float:
    """The time of the last whole op in the file; 0.0 when it has none."""
    try:
        with history.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_BYTES))
            lines = file.read().split(b"\n")[:-1]
        return float(msgspec.json.decode(lines[-1])["time"]) / 1e9
    except (OSError, IndexError, KeyError, msgspec.DecodeError):
        return 0.0


def named(run_id: str) -> Iterator[tuple[str, int]]:
    """(what it is, pid) of each process of the run; a node goes by its own name."""
    for process in labelled_processes.labelled(run_id):
        if "local.supervisor" in process.command:
            yield "supervisor", process.pid
        elif "fork_server" in process.command:
            try:
                word = Path(f"/proc/{process.pid}/comm").read_text().strip()
            except OSError:
                continue
            yield ("fork server" if word.startswith("python") else word), process.pid


def look(controller: int, run: Path, began_s: float) -> Look:
    """The present state of the run in this folder."""
    history = run / "history.jsonl"
    pids = {CONTROLLER: controller, **dict(named(RunDirectory(run).run_id))}
    found = {name: mb for name, pid in pids.items() if (mb := rss_mb(pid)) is not None}
    size = history.stat().st_size / 2**20 if history.exists() else 0.0
    return Look(time.monotonic() - began_s, last_time_s(history), size, traces_mb(run / "nodes"), found)


def traces_mb(nodes: Path) -> float:
    """What the nodes' traces take on the disk."""
    total = 0
    for directory in directories(nodes):
        for path in files_of(directory):
            with contextlib.suppress(FileNotFoundError):  # Removed since.
                total += path.stat().st_size
    return total / 2**20


def command(env: str, hours: float, rate_hz: float, interval_s: float, seed: int, store: Path) -> list[str]:
    """The run that is looked at: five nodes of Raft, under partitions and kills."""
    asked = ["--env", env, "--nemesis", "partition,kill", "--nemesis-interval", f"{interval_s:g}"]
    asked += ["--concurrency", "10" if env == "sim" else "20"]
    asked += ["--rate", f"{rate_hz:g}", "--time-limit", f"{hours * 3600:g}", "--seed", str(seed), "--store", str(store)]
    return [sys.executable, "-m", "harness", "test", *asked]


def watch(argv: list[str], store: Path, every_s: float, output: TextIO, log: Path) -> tuple[list[Look], float, int]:
    """Run it to its end: all looks, the controller's peak memory in MB, and the exit code. Rows go to `output` as they come."""
    looks: list[Look] = []
    rows = csv.writer(output)
    peak = 0.0
    with log.open("wb") as said:
        process = subprocess.Popen(argv, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
    began_s = time.monotonic()
    try:
        while process.poll() is None:
            if (store / "current").exists():
                found = look(process.pid, (store / "current").resolve(), began_s)
                peak = max(peak, peak_mb(process.pid))
                if not looks:
                    rows.writerow(["wall_s", "run_s", "history_mb", "trace_mb", "process", "rss_mb"])
                looks.append(found)
                for name, mb in found.rss_mb.items():
                    rows.writerow(
                        [
                            *(f"{x:.1f}" for x in (found.wall_s, found.run_s, found.history_mb, found.trace_mb)),
                            name,
                            f"{mb:.1f}",
                        ]
                    )
                output.flush()
            time.sleep(every_s)
    finally:
        process.terminate()
    return looks, peak, process.wait()


def growth(looks: list[Look], limit_s: float) -> dict[str, tuple[float, float]]:
    """Process -> its memory in MB (the median of some looks) at a quarter of the main phase, and at the end of it."""
    main = [found for found in looks if 0 < found.run_s < limit_s]
    names = {name for found in main for name in found.rss_mb}
    early = [found for found in main if EARLY <= found.run_s / limit_s < EARLY + 0.1]
    late = [found for found in main if found.run_s / limit_s >= 0.9]

    def median(group: list[Look], name: str) -> float:
        values = sorted(found.rss_mb[name] for found in group if name in found.rss_mb)
        return values[len(values) // 2] if values else float("nan")

    return {name: (median(early, name), median(late, name)) for name in sorted(names)}


@click.command()
@click.argument("env", type=click.Choice(("sim", "local")))
@click.option("--hours", default=12.0, show_default=True, help="Of the main phase; virtual ones in sim.")
@click.option("--rate", default=50.0, show_default=True, help="Ops a second, of all clients.")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between the faults of a family.")
@click.option("--seed", default=1, show_default=True)
@click.option("--every", default=10.0, show_default=True, help="Real seconds between two looks.")
@click.option(
    "--csv", "path", type=click.Path(path_type=Path), help="Gets the series; without it standard output does."
)
def memory(env: str, hours: float, rate: float, interval: float, seed: int, every: float, path: Path | None) -> None:
    """Look at the memory of one long run in ENV until it ends."""
    with tempfile.TemporaryDirectory(prefix="themis-soak-") as place:
        store, log = Path(place) / "store", Path(place) / "output"
        argv = command(env, hours, rate, interval, seed, store)
        click.echo(" ".join(argv), err=True)
        if path is None:
            looks, peak, status = watch(argv, store, every, sys.stdout, log)
        else:
            with path.open("w") as output:
                looks, peak, status = watch(argv, store, every, output, log)
        click.echo(log.read_text(errors="replace")[-2000:], err=True)
    click.echo(f"traces on the disk: at most {max((found.trace_mb for found in looks), default=0):.0f} MB", err=True)
    for name, (early, late) in growth(looks, hours * 3600).items():
        click.echo(f"{name}: {early:.0f} MB at a quarter, {late:.0f} MB at the end", err=True)
    click.echo(f"{CONTROLLER}, checks included: at most {peak:.0f} MB; exit code {status}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    memory()
