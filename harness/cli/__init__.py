"""The command `themis`: reads flags, calls the harness, prints, and turns every ending into one of Jepsen's exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from harness.cli import check, image, machine, prune, replay, run, show
from harness.errors import HARNESS, USAGE, HarnessError, UsageError, unknown_name
from histories.printing import block, line


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
    *prune.COMMANDS,
    *machine.COMMANDS,
    *image.COMMANDS,
):
    themis.add_command(command)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; prints errors to stderr, never a traceback for bad input."""
    try:
        code = themis.main(
            args=None if arguments is None else list(arguments), prog_name="themis", standalone_mode=False
        )
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        click.echo(f"themis: {block(error.format_message())}", err=True)
        if context is not None:
            click.echo(f"Try `{context.command_path} --help`.", err=True)
        return USAGE
    except UsageError as error:
        click.echo(f"themis: {block(error)}", err=True)
        return USAGE
    except HarnessError as error:
        click.echo(f"themis: the harness failed: {block(error)}", err=True)
        return HARNESS
    except (KeyboardInterrupt, click.Abort):
        click.echo("themis: interrupted", err=True)
        return HARNESS
    except BrokenPipeError:
        sys.stderr.close()
        return HARNESS
    except (Exception, SystemExit) as error:  # noqa: BLE001
        # The last handler: 1 and 2 are verdicts, and no crash may end with them, nor a plugin that calls sys.exit.
        if os.environ.get("THEMIS_DEBUG"):
            traceback.print_exc()
        hint = "themis --debug ... shows where; please report it"
        click.echo(f"themis: unexpected {type(error).__name__}: {line(error)} ({hint})", err=True)
        return HARNESS
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script. What a user names as module:Name is looked for in the current directory too."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    sys.exit(run_command())
