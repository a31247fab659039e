"""`themis doctor`, `cleanup` and `node`: this machine, what earlier runs left on it, and one node by hand."""

from __future__ import annotations

import sys

import click

from harness.cli import doctor as diagnosis
from harness.cli import options
from harness.environments import leftovers
from harness.errors import HARNESS
from histories.printing import line
from targets.node import main as node_main


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def doctor(as_json: bool) -> int:
    """What can run on this machine, what is missing, and the command that mends it; and which faults each environment can do.

    Exit code 0 when the embedded default (environment local) can run, 255 when it cannot.

    \b
    Example:
      themis doctor
    """
    findings = diagnosis.examine()
    if as_json:
        options.echo_json(findings)
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.is_ok else click.style("no  ", fg="yellow")
            click.echo(f"{mark} {finding.subject:<14} {line(finding.detail)}")
            if finding.remedy:
                click.echo(f"     {'':<14} {line(finding.remedy)}")
        click.echo()
        for row in diagnosis.fault_lines(findings):
            click.echo(row)
    return 0 if all(finding.is_ok for finding in findings if finding.is_essential) else HARNESS


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is there.")
def cleanup(dry_run: bool) -> int:
    """Find and remove what earlier runs left behind, as after a `kill -9`: processes, namespaces, rules, containers, daemons.

    Runs that are still going on are left alone. Exit code: 0, or 255 when something could not be removed.

    \b
    Example:
      themis cleanup --dry-run
    """
    found = leftovers.find()
    if not found:
        click.echo("nothing was left behind")
        return 0
    failed = 0
    for leftover in found:
        problem = None if dry_run else leftover.remove()
        failed += problem is not None
        options.echo(f"{line(leftover.description)}: {'left as it is' if dry_run else line(problem or 'removed')}")
    return HARNESS if failed else 0


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def node(arguments: tuple[str, ...]) -> int:
    """One node of a target as a foreground process: what the harness starts five of.

    \b
    Example:
      themis node raft --id n1 --listen 127.0.0.1:9001 --data-dir /tmp/n1 --interface lock
    """
    given = list(arguments)
    if given and not given[0].startswith("-"):
        given[:1] = ["--target", given[0]]
    sys.stdout.flush()
    return node_main(given)


COMMANDS = (doctor, cleanup, node)
