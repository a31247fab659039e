"""`themis cleanup`: what earlier runs left on this machine."""

from __future__ import annotations

import click

from harness.cli import options
from harness.environments import leftovers
from harness.errors import HARNESS
from histories.printing import line


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
