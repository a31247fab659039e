"""`themis new`: the beginning of a target of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options
from harness.scaffold.write import new_target
from histories.printing import line


@click.group()
def new() -> None:
    """Write the beginning of something of your own."""


@new.command()
@click.argument("name")
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), default=Path("."), help="Where the package goes."
)
def target(name: str, directory: Path) -> int:
    """Write the package NAME_target: a target with its client and a test, which runs at once, for a toy server beside it.

    docs/your-system.md leads from there to a verdict on your own system.

    \b
    Example:
      themis new target mystore
      themis test --target mystore_target.target:TARGET --nodes 3 --nemesis partition,kill --time-limit 10
    """
    for path in new_target(name, directory):
        options.echo(f"wrote {line(str(path), 300)}")
    where = "" if directory == Path(".") else f"cd {line(str(directory), 300)} && "
    options.echo("try it:")
    options.echo(
        f"  {where}themis test --target {name}_target.target:TARGET --nodes 3 --nemesis partition,kill --time-limit 10"
    )
    options.echo(f"  {where}python -m pytest {name}_target")
    return 0
