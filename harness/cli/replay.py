"""`themis replay`: runs a stored run again."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import click

from harness.cli import options
from harness.cli.ending import note
from harness.cli.options import SHARE, STORE
from harness.cli.reporting import tell_due
from harness.errors import HARNESS, VALID, HarnessError, Interrupted, UsageError
from harness.report import summary
from harness.report.difference import first_difference, ops_in
from harness.run import execute
from harness.run.replays import plan_again
from harness.store.runs import Store
from histories.printing import line
from nemesis.schedule import BadSchedule


@click.command()
@click.argument("run", default="latest")
@SHARE
@STORE
def replay(run: str, share: bool, store: Path) -> int:
    """Run a stored spec again with the faults that were saved with it.

    A simulated run must give the same bytes: its history is compared, and the first difference is shown. Elsewhere time is
    real, so the run is new: the same plan, operations and faults, kept in the store, with a verdict of its own.

    Exit code in the simulation: 0 the same bytes, 255 not the same (the simulation or the target is
    not deterministic, which is no verdict), 130 or 143 ended by Ctrl-C or SIGTERM. Elsewhere: as for `themis test`.

    \b
    Example:
      themis replay latest
    """
    directory = Store(store).find(run)
    spec = directory.read_spec()
    try:
        prepared = plan_again(directory, spec)
    except FileNotFoundError:
        raise UsageError(
            f"{directory.schedule}: missing, so that nobody knows the run's faults; "
            f"`themis analyze {directory.path}` makes it anew from the history"
        ) from None
    except BadSchedule as error:
        raise UsageError(str(error)) from error
    if spec.env != "sim":
        again, result = execute.run_into(Store(store, is_shared=share), prepared)
        code = note(summary.code(result))
        tell_due(again, result)
        options.echo(summary.summary(again, result, prepared.spec))
        return code
    with tempfile.TemporaryDirectory(prefix="themis-replay-") as temporary:
        again, result = execute.run_into(Store(Path(temporary)), prepared)
        difference = first_difference(ops(directory.history), ops(again.history))
    if result.signal:
        raise Interrupted(signal.Signals[result.signal], "the replay is not whole, so there is nothing to compare")
    if difference is None:
        options.echo(f"the same, byte by byte: {directory.history}")
        return VALID
    if result.harness:
        why = result.harness[0]
        raise HarnessError(f"the replay is not whole, so there is nothing to compare: {why.phase}: {line(why.error)}")
    options.echo(f"NOT the same as {directory.history}: {difference}")
    return HARNESS


def ops(history: Path) -> bytes:
    """The history's lines. Raises UsageError when it cannot be read."""
    try:
        return ops_in(history)
    except OSError as error:
        raise UsageError(f"{history}: {error.strerror or error}") from error
    except MemoryError:
        raise UsageError(f"{history}: it does not fit into the memory, so that it cannot be compared") from None
