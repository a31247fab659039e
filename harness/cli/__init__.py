"""The command `themis`: reads flags, calls the harness, prints, and turns every ending into one of Jepsen's exit codes."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

import click

from harness.cli.ending import Ending, say, tell_no_tracebacks
from harness.cli.outlets import open_outlets
from harness.errors import HARNESS, VALID, unknown_name
from harness.run.interruption import SIGNALS, raise_interrupts

COMPLETION = "_THEMIS_COMPLETE"
"""Set by the shell that completes a command line (click's name for it)."""


COMMANDS = {
    "analyze": "harness.cli.run:analyze",
    "bench-bugs": "harness.cli.bench_bugs:bench_bugs",
    "campaign": "harness.cli.campaign:campaign",
    "check": "harness.cli.check:check",
    "cleanup": "harness.cli.cleanup:cleanup",
    "cluster": "harness.cli.cluster:cluster",
    "compare": "harness.cli.compare:compare",
    "doctor": "harness.cli.doctor:doctor",
    "image": "harness.cli.image:image",
    "inspect": "harness.cli.show:inspect",
    "lift": "harness.cli.lift:lift",
    "list": "harness.cli.show:list_runs",
    "new": "harness.cli.new:new",
    "node": "harness.cli.node:node",
    "prune": "harness.cli.prune:prune",
    "replay": "harness.cli.replay:replay",
    "report": "harness.cli.pages:report",
    "serve": "harness.cli.pages:serve",
    "shrink": "harness.cli.shrink:shrink",
    "test": "harness.cli.run:test",
}
"""The commands, and where each is. The module of a command is imported when it is asked for: all of them take two seconds."""


class Commands(click.Group):
    """The group of COMMANDS. It answers an unknown command with the nearest known one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words begin with. Raises UsageError when there is none of this name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(str(unknown_name("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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


def run_command(arguments: Sequence[str] | None = None, ending: Ending | None = None) -> int:
    """Run one command line and return its exit code; prints errors to stderr, never a traceback. ending: learns of its verdicts."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    ending = ending or Ending()
    try:
        # https://no-color.org; None: colours where a terminal reads.
        color = False if os.environ.get("NO_COLOR") else None
        with themis.make_context("themis", words, obj=ending, color=color) as context:
            code = themis.invoke(context)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as raised:  # noqa: BLE001 - the last handler
        return ending.code_after(raised)
    return code if isinstance(code, int) else 0


SIGNALS_HEEDED = 2
"""A signal may come while what the one before raised is dealt with. The next one ends the process as it is."""


def _code_despite_signals(ending: Ending, signals: int) -> int:
    """The exit code of the command line, though so many signals come while the end of the command is told.

    The function calls itself once for each signal, so that what one interrupts is always within a `try`.
    """
    try:
        if signals:
            return _code_despite_signals(ending, signals - 1)
        raise_interrupts(SIGNALS_HEEDED, ending.leave)
        code = run_command(ending=ending)
        _leave_with(code)
    except KeyboardInterrupt as raised:
        code = ending.code_after(raised)
        _leave_with(code)
    return code


def _leave_with(code: int) -> None:
    """From now on a signal ends the process with this code: there is nothing to lose but time."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))


def _ignore_signals() -> None:
    """The last thing that Python calls. What follows is short, and a signal would have its default effect there: the process would
    end by it, whatever its code."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """The console script. What a user names as module:Name is looked for in the current directory too."""
    with contextlib.suppress(OSError):  # It may have been removed.
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    if COMPLETION in os.environ:
        themis.main(prog_name="themis")  # A shell asks what could come next; this exits.
    atexit.register(_ignore_signals)
    outlet = open_outlets()
    tell_no_tracebacks()
    ending = Ending()
    code = _code_despite_signals(ending, SIGNALS_HEEDED)
    sys.stdout.flush()
    if outlet.is_lost:
        say(f"standard output could not be written: {outlet.problem and outlet.problem.strerror}")
        # A verdict has its own code, whoever reads the text; the code of `themis list > file` says whether the file is whole.
        code = HARNESS if code == VALID and not ending.has_verdict else code
        _leave_with(code)
    sys.stderr.flush()
    sys.exit(code)
