"""`make bench`: what the harness reaches on this machine. Each figure is measured here and now, never remembered.

The checker's grid is `python -m checkers.bench`; it runs last, because it takes longest.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from checkers.bench import faults as faults_bench
from harness.bench import check_memory as check_memory_bench
from harness.bench import interpreter as interpreter_bench
from harness.bench import simulation as simulation_bench
from harness.bench import workers as workers_bench
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from histories import bench as bench_histories

ROUNDS = 3


def cluster() -> dict[str, float]:
    """ok ops/s of a healthy 5-node Raft on loopback: no faults, concurrency 20, as fast as it goes, for 10 s."""
    rates = []
    for seed in range(ROUNDS):
        spec = RunSpec(concurrency=20, rate_hz=0, time_limit_s=10, seed=seed)
        with tempfile.TemporaryDirectory(prefix="themis-bench-") as store:
            _, result = execute.run_into(Store(Path(store)), plan.prepare(spec))
        rates.append(result.counts["ok"] / spec.time_limit_s)
    return {"ok_ops_per_s": statistics.median(rates), "least": min(rates), "wanted": 500}


def interpreter() -> dict[str, float]:
    """ops/s of the interpreter with a client that answers at once."""
    rates = [interpreter_bench.measure()["ops_per_s"] for _ in range(ROUNDS)]
    return {"ops_per_s": statistics.median(rates), "wanted": 15_000}


def history() -> dict[str, float]:
    """Writing and loading 1,000,000 operations as JSON lines."""
    return bench_histories.measure(1_000_000)


def simulation() -> dict[str, Any]:
    """The standard scenario of the simulation; virtual seconds a CPU second."""
    return dict(simulation_bench.measure())


def faults() -> dict[str, float]:
    """The checkers of every run on 1,000,000 operations with 2,000 faults: seconds of each, and the MB that they take."""
    row = faults_bench.in_child(1_000_000, 2_000)
    return {f"{name}_s": seconds for name, seconds in row.seconds.items()} | {"check_mb": row.peak_mb - row.history_mb}


def check_memory() -> dict[str, float]:
    """Peak memory of checking 100,000 and 1,000,000 operations of registers."""
    return check_memory_bench.measure()


def workers() -> dict[str, Any]:
    """What a second worker brings a campaign: processes of this machine, and those of a Dask scheduler."""
    return workers_bench.measure()


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "interpreter": interpreter,
    "cluster": cluster,
    "simulation": simulation,
    "history": history,
    "faults": faults,
    "check-memory": check_memory,
    "workers": workers,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, "checkers"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bench(parts: tuple[str, ...], as_json: bool) -> None:
    """Measure PARTS, or everything."""
    chosen = parts or (*PARTS, "checkers")
    found: dict[str, dict[str, Any]] = {}
    for name in chosen:
        if name in PARTS:
            found[name] = PARTS[name]()
            if not as_json:
                click.secho(name, bold=True)
                for field, value in found[name].items():
                    click.echo(f"  {field:<36} {value:,.2f}" if isinstance(value, float) else f"  {field:<36} {value}")
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    if "checkers" in chosen:
        sys.exit(subprocess.call([sys.executable, "-m", "checkers.bench", *(["--json"] if as_json else [])]))


if __name__ == "__main__":
    bench()
