"""`themis report` and `serve`: the page of a run, and all runs of a store in a browser."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import click

from harness.cli import options, reporting
from harness.cli.ending import say
from harness.cli.options import STORE
from harness.errors import Interrupted, UsageError
from harness.report.page.report import write_report
from harness.run.interruption import SIGNALS, is_heeded
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
    place = None if output is None else reporting.check_place(output)
    written = write_report(Store(store).find(run), place)
    options.echo(line(output or written))
    return 0


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Where it listens.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address it listens on. Anything but loopback lets others read all runs of the store.",
)
@STORE
def serve(port: int, host: str, store: Path) -> int:
    """The runs and campaigns of the store in a browser: search, sort, open, compare two, download. Read only; until Ctrl-C.

    A running test shows its counts so far, and new runs appear by themselves. A campaign shows its findings and their runs.

    \b
    Example:
      themis serve --store store --port 8080
    """
    from aiohttp import web  # Here: the import takes a while, and other commands do without it.

    from harness.campaign.pages import CampaignPages
    from harness.report.serve.server import Server, is_loopback

    if store.exists() and not store.is_dir():
        raise UsageError(f"--store {store}: this is no folder")

    asked: list[int] = []

    def end(number: int) -> None:
        asked.append(number)
        raise web.GracefulExit

    async def application() -> web.Application:
        # What a signal's handler of ours raises would end whatever the loop does just then, and be told as that one's error.
        for number in filter(is_heeded, SIGNALS):
            with suppress(ValueError, RuntimeError):  # In a thread other than the main one.
                asyncio.get_running_loop().add_signal_handler(number, end, number)
        return Server(Store(store), host, CampaignPages(store)).application()

    if not is_loopback(host):
        say(f"everybody who reaches {host} can read the runs in {store}")
    shown = f"[{host}]" if ":" in host else host
    options.echo(line(f"http://{shown}:{port}/ shows the runs in {store}; Ctrl-C ends it"))
    sys.stdout.flush()
    try:
        web.run_app(
            application(), host=host, port=port, print=None, access_log=None, shutdown_timeout=1.0, handle_signals=False
        )
    except (OSError, UnicodeError) as error:  # A name that is none cannot be encoded.
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{host}:{port}: {why}; choose another with --port or --host") from error
    if asked:
        raise Interrupted(asked[0])
    return 0
