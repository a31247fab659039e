"""`themis report`: the page of a run."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options, reporting
from harness.cli.run import STORE
from harness.report.page.report import write_report
from harness.store.runs import Store
from histories.printing import line


@click.command()
@click.argument("run", default="latest")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Where the page is written. Default: report.html in the run's folder.",
)
@STORE
def report(run: str, output: Path | None, store: Path) -> int:
    """Write the page of a run: one HTML file with the failure, the whole run, its messages and logs; docs/report.md.

    It needs no network and no server. A run that is not VALID has one already.

    \b
    Example:
      themis report latest --output failure.html
    """
    if output is not None:
        reporting.check_place(output)
    options.echo(line(write_report(Store(store).find(run), output)))
    return 0


COMMANDS = (report,)
