"""The command `themis`: reads flags, calls the harness, prints, and turns every ending into one of Jepsen's exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

import click

from harness.cli import (
    bench_bugs,
    campaign,
    check,
    cluster,
    compare,
    image,
    lift,
    machine,
    new,
    prune,
    replay,
    run,
    show,
    shrink,
)
from harness.cli.ending import Ending, say
from harness.cli.outlets import open_outlets
from harness.cli.pages import COMMANDS as PAGES
from harness.errors import HARNESS, VALID, unknown_name
from harness.run.interruption import SIGNALS, raising_interrupts

COMPLETION = "_THEMIS_COMPLETE"
"""Set by the shell that completes a command line (click's name for it)."""


class NearestName(click.Group):
    """A group that answers an unknown command with the nearest known one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(str(unknown_name("command", args[0], self.commands)), ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=NearestName, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="themis-consistency", prog_name="themis")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda _context, _option, is_on: os.environ.update(THEMIS_DEBUG="1") if is_on else None,
    help="Show the traceback of an unexpected error (as THEMIS_DEBUG=1 does).",
)
def themis() -> None:
    """Test replicated systems for consistency: run them, break them, record what clients saw, check it.

    \b
    Examples:
      themis test --target raft --workload register --nemesis partition,kill --time-limit 20
      themis inspect latest
      themis check history.edn --model cas-register
    """


for command in (
    *run.COMMANDS,
    *replay.COMMANDS,
    *check.COMMANDS,
    *show.COMMANDS,
    *PAGES,
    *prune.COMMANDS,
    *shrink.COMMANDS,
    *lift.COMMANDS,
    *campaign.COMMANDS,
    *bench_bugs.COMMANDS,
    *compare.COMMANDS,
    *cluster.COMMANDS,
    *machine.COMMANDS,
    *image.COMMANDS,
    *new.COMMANDS,
):
    themis.add_command(command)


def run_command(arguments: Sequence[str] | None = None, ending: Ending | None = None) -> int:
    """Run one command line and return its exit code; prints errors to stderr, never a traceback. ending: learns of its verdicts."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    ending = ending or Ending()
    try:
        with themis.make_context("themis", words, obj=ending) as context:
            code = themis.invoke(context)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as raised:  # noqa: BLE001 - the last handler
        return ending.code_after(raised)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script. What a user names as module:Name is looked for in the current directory too."""
    with contextlib.suppress(OSError):  # It may have been removed.
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    if COMPLETION in os.environ:
        themis.main(prog_name="themis")  # A shell asks what could come next; this exits.
    outlet = open_outlets()
    ending = Ending()
    with raising_interrupts():
        code = run_command(ending=ending)
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))  # From here on there is nothing to lose but time.
    sys.stdout.flush()
    if outlet.is_lost:
        say(f"standard output could not be written: {outlet.problem and outlet.problem.strerror}")
        # A verdict has its own code, whoever reads the text; the code of `themis list > file` says whether the file is whole.
        code = HARNESS if code == VALID and not ending.has_verdict else code
    sys.stderr.flush()
    sys.exit(code)
