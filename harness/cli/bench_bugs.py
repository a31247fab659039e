"""`themis bench-bugs`: the bug zoo as a measure of the harness."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import click
import msgspec

from harness.campaign import track_record_page
from harness.campaign.real_nodes import on_real_nodes
from harness.campaign.strategy import StrategyName
from harness.campaign.track_record import HUNT_SEEDS, Healthy, Measurement, Row, healthy
from harness.campaign.workers import worker_pool
from harness.cli import options
from harness.cli.ending import note, tell
from harness.cli.progress import StatusLine
from harness.cli.reporting import check_place
from harness.errors import INVALID, UNKNOWN, VALID, UsageError, exit_code, unknown_name
from harness.run.interruption import raising_interrupts
from harness.store.runs import Store, write_atomically
from harness.zoo import registry
from harness.zoo.scenario import Planted, Scenario


@click.command("bench-bugs")
@click.option("--target", "targets", multiple=True, help="Only its bugs; repeatable.")
@click.option("--bug", "bugs", multiple=True, help="Only this one; repeatable.")
@click.option(
    "--seeds", type=click.IntRange(0), default=20, show_default=True, help="Seeds of each bug that are counted."
)
@click.option("--hunts", type=click.IntRange(0), default=7, show_default=True, help="Hunts for each bug and strategy.")
@click.option(
    "--hunt-runs",
    type=click.IntRange(1, HUNT_SEEDS),
    default=200,
    show_default=True,
    help="After so many runs without a find a hunt has found nothing.",
)
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(get_args(StrategyName)),
    multiple=True,
    default=("random",),
    show_default=True,
    help="How a hunt chooses its runs; repeatable, to compare.",
)
@click.option(
    "--shrink",
    type=options.span_s,
    default=60.0,
    show_default=True,
    help="Seconds to shrink each bug's run; 0: not at all.",
)
@click.option(
    "--healthy",
    "healthy_seeds",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Seeds of each scenario without a bug.",
)
@click.option(
    "--local",
    "real_runs",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Runs of real nodes of each bug, until one shows it; that one is lifted into the simulation.",
)
@click.option("--lift", "lift_s", type=options.budget_s, default=300.0, show_default=True, help="Seconds to lift one.")
@click.option("--jobs", type=click.IntRange(1, 1024), default=None, help="Processes. Default: one per processor.")
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    help="Put the tables into this page, a section a target.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def bench_bugs(
    targets: tuple[str, ...],
    bugs: tuple[str, ...],
    seeds: int,
    hunts: int,
    hunt_runs: int,
    strategies: tuple[StrategyName, ...],
    shrink: float,
    healthy_seeds: int,
    real_runs: int,
    lift_s: float,
    jobs: int | None,
    write: Path | None,
    as_json: bool,
) -> int:
    """Measure how soon planted bugs are found in the simulation, by which checker, and how small their runs get.

    Exit code: 0 every bug was found, 1 a run without a bug was not VALID (a false alarm), 2 some bug was not found, 254 bad usage.

    \b
    Examples:
      themis bench-bugs --target raft --bug stale-read --seeds 5 --hunts 3
      themis bench-bugs --strategy random --strategy coverage --write docs/zoo.md
    """
    chosen = _chosen(targets, bugs)
    place = None if write is None else check_place(write)
    status = StatusLine(sys.stderr)
    rows: list[Row] = []
    healthies: list[Healthy] = []
    codes: set[int] = set()
    try:
        with ExitStack() as stack:
            stack.enter_context(raising_interrupts())
            jobs = jobs or os.cpu_count() or 1
            executor = stack.enter_context(worker_pool(jobs))
            store = Store(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="themis-bench-bugs-"))))
            measurements = [
                Measurement(
                    executor,
                    planted,
                    seeds=seeds,
                    hunts=hunts,
                    runs_max=hunt_runs,
                    strategies=strategies,
                    shrink_s=shrink,
                )
                for planted in chosen
            ]
            if not as_json:
                options.echo(track_record_page.heading(strategies))
            for number, measurement in enumerate(measurements):
                status.show(f"{number} of {len(chosen)} bugs: {chosen[number].target} {chosen[number].bug}")
                row = measurement.row()
                if real_runs:
                    real = on_real_nodes(row.planted, real_runs, lift_s, store, executor, jobs)
                    row = msgspec.structs.replace(row, real=real)
                rows.append(row)
                status.clear()
                if not as_json:
                    options.echo(track_record_page.row_text(rows[-1], strategies))
            for scenario in _scenarios(chosen) if healthy_seeds else ():
                status.show(f"without a bug: {scenario.base.target} {scenario.name}")
                healthies.append(healthy(executor, scenario, healthy_seeds))
                status.clear()
                if not as_json:
                    one = healthies[-1]
                    options.echo(f"without a bug, {scenario.name}: {one.not_valid} of {one.seeds} seeds are not VALID")
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - what was measured so far is told
        status.clear()
        codes.add(tell(raised))
    if place is not None:
        _write(place, _whole(rows, healthies, chosen, healthy_seeds), healthies, strategies)
    if as_json:
        options.echo_json({"bugs": msgspec.to_builtins(rows), "healthy": msgspec.to_builtins(healthies)})
    else:
        options.echo("\n".join(track_record_page.summary(rows)))
    if any(one.not_valid for one in healthies):
        codes.add(INVALID)
    elif not codes:
        codes.add(VALID if all(row.is_found for row in rows) else UNKNOWN)
    return note(exit_code(codes))


def _whole(rows: list[Row], healthies: list[Healthy], chosen: list[Planted], healthy_seeds: int) -> list[Row]:
    """Those of the targets of which everything that was asked for is measured: an interrupted command writes no section in part."""
    measured = {id(one.scenario) for one in healthies}
    missing = {planted.target for planted in chosen[len(rows) :]}
    if healthy_seeds:
        missing |= {one.base.target for one in _scenarios(chosen) if id(one) not in measured}
    return [row for row in rows if row.planted.target not in missing]


def _chosen(targets: tuple[str, ...], bugs: tuple[str, ...]) -> list[Planted]:
    """The bugs that are asked for. Raises UsageError for a name that there is not."""
    for what, names, known in (
        ("target with planted bugs", targets, {planted.target for planted in registry.PLANTED}),
        ("planted bug", bugs, {planted.bug for planted in registry.PLANTED}),
    ):
        for name in names:
            if name not in known:
                raise unknown_name(what, name, known)
    chosen = [
        planted
        for planted in registry.PLANTED
        if (not targets or planted.target in targets) and (not bugs or planted.bug in bugs)
    ]
    if not chosen:
        raise UsageError(f"{', '.join(targets)} has no bug called {', '.join(bugs)}")
    return chosen


def _scenarios(chosen: list[Planted]) -> list[Scenario]:
    """Those of the chosen bugs, each once."""
    return list({id(planted.scenario): planted.scenario for planted in chosen}.values())


def _write(page: Path, rows: list[Row], healthies: list[Healthy], strategies: tuple[StrategyName, ...]) -> None:
    """The page holds a section for each target that was measured."""
    command = f"themis {shlex.join(sys.argv[1:])}"
    try:
        text = page.read_text()
        for target in dict.fromkeys(row.planted.target for row in rows):
            its = [row for row in rows if row.planted.target == target]
            its_healthy = [one for one in healthies if one.scenario.base.target == target]
            text = track_record_page.with_section(
                text, target, track_record_page.section(target, its, its_healthy, strategies, command)
            )
        write_atomically(page, text.encode())
    except OSError as error:
        raise UsageError(f"{page} cannot be written: {error.strerror or error}") from error
