"""`themis shrink`: makes a failing simulated run small."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from checkers import Validity
from harness.campaign.case import Case, run_case
from harness.campaign.reproduction import SHRUNK, TEST_FILE, keep, read_case
from harness.campaign.shrink import Shrinker
from harness.campaign.workers import worker_pool
from harness.cli import options
from harness.cli.ending import tell
from harness.cli.options import JSON, SHARE, STORE
from harness.cli.progress import StatusLine
from harness.errors import VALID, HarnessError, UsageError
from harness.report.summary import counted
from harness.run.interruption import raising_interrupts
from harness.store.runs import Store, UnusableResult
from histories.printing import line


@click.command()
@click.argument("run", default="latest")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    default=None,
    help="Processes that try smaller runs. Default: one per processor.",
)
@click.option("--budget", type=options.budget_s, default=60.0, show_default=True, help="Seconds after which it ends.")
@SHARE
@STORE
@JSON
def shrink(run: str, jobs: int | None, budget: float, share: bool, store: Path, as_json: bool) -> int:
    """Make a failing simulated run small: fewer operations, faults, keys, clients, nodes, seconds; the class of anomaly stays.

    The smallest run that was found is kept in the store, as NAME-shrunk, with a pytest file that runs it again. Ctrl-C ends the
    search; the smallest run until then is kept.

    Exit code: 0 the smallest run is kept, 130 or 143 the same after Ctrl-C or SIGTERM, 254 bad usage, 255 the run does not
    fail again (the target is not deterministic, or it is not the one that failed).

    \b
    Example:
      themis test --env sim --bug stale-read --nemesis partition,kill --seed 3
      themis shrink latest
    """
    kept_in = Store(store, is_shared=share)
    directory = kept_in.find(run)
    case = read_case(directory)
    kept_in.check()
    with suppress(UnusableResult):  # What matters is how it ends when it is run again.
        stored = directory.read_result()
        if stored is not None and stored.verdict.validity is not Validity.INVALID:
            raise UsageError(
                f"{directory.path}: the run is {stored.verdict.validity.name}, so there is nothing to shrink"
            )
    failed = run_case(case)
    if failed is None:
        raise HarnessError(
            f"{directory.path}: run again, nothing is INVALID, so there is nothing to shrink. "
            f"`themis replay {directory.path}` tells whether the same happens"
        )
    status = StatusLine(sys.stderr)
    began_s = time.monotonic()
    jobs = jobs or os.cpu_count() or 1
    code = VALID
    with ExitStack() as stack:
        stack.enter_context(raising_interrupts())
        executor = stack.enter_context(worker_pool(jobs)) if jobs > 1 else None
        shrinker = Shrinker(
            failed, executor=executor, jobs=jobs, budget_s=budget, say=lambda smaller: status.show(smaller.size)
        )
        try:
            shrinker.shrink()
        except KeyboardInterrupt as raised:
            code = tell(raised)
    status.clear()
    kept = keep(kept_in, shrinker.failed, directory.path.parent.name, SHRUNK)
    test = kept.path / TEST_FILE
    if as_json:
        options.echo_json(
            {
                "run": str(kept.path),
                "test": str(test),
                "anomaly": shrinker.wanted,
                "words": shrinker.failed.words,
                "before": counts(case),
                "after": counts(shrinker.best),
                "tried": shrinker.tried_count,
                "is_minimal": shrinker.is_minimal,
                "seconds": time.monotonic() - began_s,
            }
        )
        return code
    options.echo(f"{line(shrinker.wanted)}: {line(shrinker.failed.words, 300)}")
    options.echo(f"  before: {case.size}\n  after:  {shrinker.best.size}")
    why = (
        "no step makes it smaller"
        if shrinker.is_minimal
        else "the search ended early: more --budget may make it smaller"
    )
    options.echo(f"  {counted(shrinker.tried_count, 'smaller run')} tried in {time.monotonic() - began_s:.0f} s; {why}")
    options.echo(
        f"  kept: {line(kept.path)}\n  look closer: themis inspect {line(shlex.quote(str(kept.path)))}\n"
        f"  run it again: pytest {line(shlex.quote(str(test)))}"
    )
    return code


def counts(case: Case) -> dict[str, float]:
    """How large the case is, for `--json`."""
    return {
        "client_ops": len(case.script.ops),
        "clients": len(case.threads),
        "fault_ops": len(case.faults.entries),
        "nodes": len(case.spec.nodes),
        "seconds": case.spec.time_limit_s,
    }
