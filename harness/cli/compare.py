"""`themis compare`: the CAP trade-off of several targets and modes as one table."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import cast

import click
import msgspec

from checkers import Validity
from harness import notation
from harness.campaign import comparison, comparison_picture
from harness.campaign.command_line import command_line
from harness.campaign.comparison import Compared, Subject
from harness.cli import options
from harness.cli.ending import note, tell
from harness.cli.progress import StatusLine
from harness.cli.reporting import check_place
from harness.environments.sim.environment import SimEnvironment
from harness.errors import HARNESS, INVALID, UNKNOWN, VALID, Interrupted, UsageError, exit_code
from harness.report.message_files import missing_before_ns, stored_entries
from harness.run import plan
from harness.run.execute import execute, run_into
from harness.run.interruption import raising_interrupts
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Result, Store, write_atomically
from histories import jsonl
from histories.history import History
from histories.printing import line
from targets.target import CoreTarget, Target

REASON_MAX = 160


@click.command()
@click.argument("subjects", nargs=-1, required=True, metavar="TARGET[:OPTION=VALUE,...]...")
@click.option("--nemesis", default="partition", show_default=True, help="Faults, separated by commas.")
@click.option("--env", type=click.Choice(("sim", "local")), default="sim", show_default=True)
@click.option("--workload", default=comparison.WORKLOAD, show_default=True, help="One on registers.")
@click.option("--nodes", type=click.IntRange(2, 99), default=5, show_default=True)
@click.option("--time-limit", type=options.budget_s, default=10.0, show_default=True, help="Seconds of each run.")
@click.option(
    "--rate", type=click.FloatRange(1, 100_000), default=100.0, show_default=True, help="Operations a second."
)
@click.option(
    "--runs", type=click.IntRange(1, 10_000), default=None, help="Seeds of each. Default: 3 in sim, 1 in local."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The first.")
@click.option(
    "--store", type=click.Path(path_type=Path), default=Path("store"), show_default=True, help="For runs in local."
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write a picture as well: FILE.svg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def compare(
    subjects: tuple[str, ...],
    nemesis: str,
    env: str,
    workload: str,
    nodes: int,
    time_limit: float,
    rate: float,
    runs: int | None,
    seed: int,
    store: Path,
    picture: Path | None,
    as_json: bool,
) -> int:
    """Compare targets, each in all of its modes, under the same faults: what does each side of a partition still serve, and how
    consistent is it?

    A target's modes are the values of its option `mode` or `reads`; behind a colon you choose options yourself. Each subject
    runs the same workload with the same seeds, and all histories are checked for every model (docs/eventual.md).

    Exit code: 0 all runs kept what their target claims, 1 one did not, 2 one is undecided, 130 or 143 ended by Ctrl-C or SIGTERM,
    254 bad usage, 255 a run failed in the harness.

    \b
    Examples:
      themis compare raft gossip --nemesis partition
      themis compare raft:reads=log gossip:mode=eventual --env local --time-limit 20 --json
      themis compare raft gossip --picture cap.svg
    """
    place = None if picture is None else check_place(picture)
    seeds = range(seed, seed + (runs or (3 if env == "sim" else 1)))
    try:
        base = RunSpec(
            workload=workload,
            nemesis=notation.names(nemesis),
            env=env,
            nodes=tuple(f"n{number}" for number in range(1, nodes + 1)),
            time_limit_s=time_limit,
            rate_hz=rate,
            seed=seeds[-1],
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    chosen = [(subject, target) for text in subjects for subject, target in _subjects(text)]
    specs = [comparison.spec_for(base, subject, target) for subject, target in chosen]
    if plan.prepare(specs[0]).workload.data_type != "register":
        raise UsageError(
            f"--workload {workload}: it is not about registers, the only objects that all models can be checked for"
        )
    status = StatusLine(sys.stderr)
    began_s = time.monotonic()
    begun: list[Compared] = []
    codes: set[int] = set()
    try:
        with raising_interrupts():
            for (subject, _), spec in zip(chosen, specs, strict=True):
                begun.append(compared := Compared(subject, plan.prepare(spec).claimed_model))
                for each in seeds:
                    status.show(f"{subject.name}, seed {each}")
                    signal_name = _run(compared, msgspec.structs.replace(spec, seed=each), store)
                    if compared.claims_broken:
                        note(INVALID)
                    if signal_name:
                        raise Interrupted(signal.Signals[signal_name])
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - what was compared so far is told
        status.clear()
        codes.add(tell(raised))
    rows = [compared for compared in begun if compared.runs]
    codes.add(INVALID if any(row.claims_broken for row in rows) else VALID)
    if any(row.undecided for row in rows):
        codes.add(UNKNOWN)
    if any(row.harness for row in rows):
        codes.add(HARNESS)
    note(exit_code(codes))
    status.clear()
    if place is not None and rows:
        try:
            write_atomically(place, comparison_picture.picture(rows, nemesis, env).encode())
        except OSError as error:
            raise UsageError(f"--picture {picture}: {error.strerror or error}") from error
    if as_json:
        options.echo_json(
            {
                "seconds": time.monotonic() - began_s,
                "nemesis": nemesis,
                "env": env,
                "subjects": [row.as_data() for row in rows],
            }
        )
    elif rows:
        options.echo("\n".join(table(rows)))
    return exit_code(codes)


def _subjects(text: str) -> list[tuple[Subject, Target]]:
    target = plan.find_target(text.partition(":")[0])
    return [(subject, target) for subject in comparison.subjects(text, target.option_type, target.modes)]


def _run(compared: Compared, spec: RunSpec, store: Path) -> str:
    """Do the run, and take what it showed; of one that a signal ended, only a violation. Returns the signal's name, or ""."""
    result: Result
    history: History
    if spec.env == "sim":
        sink = MemorySink(f"seed-{spec.seed}")
        result = execute(plan.prepare(spec), sink)
        history = sink.history()
        sent_count: int | None = cast(SimEnvironment, sink.environment).network.sent_count
    else:
        prepared = plan.prepare(spec)
        if isinstance(prepared.target, CoreTarget):  # A program outside the project logs no messages.
            prepared = plan.prepare(msgspec.structs.replace(spec, env_options={"messages": True}))
        run, result = run_into(Store(store), prepared)
        if result.signal and result.verdict.validity is not Validity.INVALID:
            return result.signal
        history = jsonl.read(run.history).history
        is_whole = missing_before_ns(run) is None
        sent_count = sum(entry.kind == "send" for entry in stored_entries(run)) if is_whole else None
    counted = compared.messages_count
    compared.messages_count = None if counted is None or sent_count is None else counted + sent_count
    comparison.take(compared, spec, result, history, command_line(spec))
    return result.signal


def table(rows: list[Compared]) -> list[str]:
    """The comparison as lines of text."""
    head = (
        "",
        "served",
        "majority side",
        "minority side",
        "recovers in",
        "p50",
        "p99",
        "messages/op",
        "strongest model kept",
    )
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.append("")
    for row in rows:
        by_fault = row.recovery_ns_by_fault()
        if len(by_fault) > 1:
            words = ", ".join(f"{name} in {ns / 1e6:.0f} ms" for name, ns in by_fault.items())
            lines.append(f"{row.subject.name} recovers on average from {words}")
        _, refuted, seed, why = row.strongest()
        if seed is not None:
            verb = "does not keep" if refuted in comparison.GUARANTEES else "is not"
            lines.append(f"{row.subject.name} {verb} {refuted}, by seed {seed}: {line(why, REASON_MAX)}")
            lines.append(f"  {row.commands[seed]}")
        for why in row.claims_broken.values():
            lines.append(f"{row.subject.name} breaks its claim, {row.claimed}: {line(why, REASON_MAX)}")
        for seed, why in row.undecided.items():
            undecided = f"seed {seed} is undecided: {line(why, REASON_MAX)}"
            lines.append(f"{row.subject.name} may break its claim, {row.claimed}: {undecided}")
            lines.append(f"  {row.commands[seed]}")
        for why in row.harness:
            lines.append(f"{row.subject.name}: the harness failed: {line(why, REASON_MAX)}")
    return lines


def _cells(row: Compared) -> tuple[str, ...]:
    mean_ns = sum(row.recoveries_ns) / len(row.recoveries_ns) if row.recoveries_ns else None
    return (
        row.subject.name,
        _percent(row.overall.value),
        _percent(row.sides["majority"].value),
        _percent(row.sides["minority"].value),
        "-" if mean_ns is None else f"{mean_ns / 1e6:.0f} ms",
        _ms(row.latency_ns(0.5)),
        _ms(row.latency_ns(0.99)),
        "-" if row.messages_per_op is None else f"{row.messages_per_op:.1f}",
        ", ".join(row.kept()),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _ms(value_ns: int | None) -> str:
    return "-" if value_ns is None else f"{value_ns / 1e6:.1f} ms"
