"""`themis lift`: turns a failing run of real nodes into a simulated one."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import click

from harness.campaign.lift import lift as look_for
from harness.campaign.lift import simulated_case
from harness.campaign.reproduction import LIFTED, keep
from harness.campaign.workers import worker_pool
from harness.cli import options
from harness.cli.options import JSON, SHARE, STORE
from harness.cli.progress import StatusLine
from harness.errors import UNKNOWN, VALID
from harness.report.summary import counted
from harness.run.interruption import raising_interrupts
from harness.store.runs import Store
from histories.printing import line


@click.command()
@click.argument("run", default="latest")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), default=None, help="Processes that simulate. Default: one per processor."
)
@click.option(
    "--budget", type=options.budget_s, default=300.0, show_default=True, help="Seconds after which it gives up."
)
@SHARE
@STORE
@JSON
def lift(run: str, jobs: int | None, budget: float, share: bool, store: Path, as_json: bool) -> int:
    """Look for a simulated run that fails as a run of real nodes did: then it replays exactly, and can be shrunk.

    The faults and the clients' operations of the run, as they really happened, are simulated under many seeds, with slightly other
    timing. The first simulated run with an anomaly of the same class is kept in the store, as NAME-lifted; where there is none,
    one that fails in another way, found by the same checker if there is one.

    Exit code: 0 one was found, 2 none with the same anomaly was found, 130 or 143 ended by Ctrl-C or SIGTERM, 254 bad usage.

    \b
    Example:
      themis test --env local --bug stale-read --nemesis partition
      themis lift latest
      themis shrink latest
    """
    kept_in = Store(store, is_shared=share)
    directory = kept_in.find(run)
    case, classes = simulated_case(directory)
    kept_in.check()
    status = StatusLine(sys.stderr)
    jobs = jobs or os.cpu_count() or 1
    began_s = time.monotonic()
    with raising_interrupts(), worker_pool(jobs) as executor:
        lifted = look_for(
            case,
            classes,
            executor=executor,
            jobs=jobs,
            budget_s=budget,
            show=lambda count: status.show(f"{counted(count, 'simulated run')} tried"),
        )
    status.clear()
    failed = lifted.failed or lifted.other
    kept = None if failed is None else keep(kept_in, failed, directory.path.parent.name, LIFTED)
    code = VALID if lifted.failed else UNKNOWN
    took = f"{counted(lifted.tried_count, 'simulated run')} in {time.monotonic() - began_s:.0f} s"
    if as_json:
        options.echo_json(
            {
                "lifted": lifted.failed is not None,
                "run": None if kept is None else str(kept.path),
                "looked_for": classes,
                "found": () if failed is None else failed.classes,
                "tried": lifted.tried_count,
                "seconds": time.monotonic() - began_s,
            }
        )
        return code
    if not lifted.failed:
        options.echo(
            f"not lifted: {took}, and none of them shows {line(', '.join(classes))}. A longer --budget tries more of them; what "
            "the machines did beside the recorded faults is not simulated"
        )
    if failed is not None and kept is not None:
        same = (
            f"lifted: {took}"
            if lifted.failed
            else "but the simulation sees this, of another class, which may be the same bug"
        )
        options.echo(f"{same}\n  {line(', '.join(failed.classes))}: {line(failed.words, 300)}")
        options.echo(f"  kept: {line(kept.path)}\n  make it small: themis shrink {line(shlex.quote(str(kept.path)))}")
    return code
