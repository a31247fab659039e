"""`themis list` and `inspect`: show as plain text which runs there are, and what went wrong in one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click

from harness.cli import options
from harness.cli.options import JSON, STORE
from harness.errors import UsageError
from harness.report import inspection, summary
from harness.store.runs import RunDirectory, Store
from histories.printing import harmless, line

ROW_MAX = 200
"""Characters of a line of the list."""


@click.command("list")
@click.option("--name", default="", help="Only runs of this name.")
@STORE
@JSON
def list_runs(name: str, store: Path, as_json: bool) -> int:
    """The runs in the store, oldest first, with their verdicts.

    \b
    Example:
      themis list --store store
    """
    runs = [run for run in Store(store).runs() if name in ("", run.path.parent.name)]
    if as_json:
        options.echo_json([row(run) for run in runs])
    elif not runs:
        options.echo(f"no runs in {store}")
    else:
        for run in runs:
            entry = row(run)
            told = f"damaged: {entry['damage']}" if entry["damage"] else entry["reason"]
            options.echo(line(f"{entry['verdict']:<10} {entry['name']}/{entry['time']}  {told}", ROW_MAX).rstrip())
    return 0


def row(run: RunDirectory) -> dict[str, str]:
    """One run of the list: name, time, verdict ("unfinished" when it was cut off or still runs, "unreadable" when its verdict.json
    cannot be read), reason. damage: what is wrong with its files; empty where nothing was seen."""
    verdict, reason = "unfinished", "no verdict; `themis analyze` makes one"
    try:
        if result := run.read_result():
            verdict, reason = result.verdict.validity.value, summary.first_reason(result)
    except UsageError as error:
        verdict, reason = "unreadable", str(error)
    try:
        damage = "; ".join(run.damages())
    except OSError as error:
        damage = f"{run.path}: {error.strerror or error}"
    return {
        "name": run.path.parent.name,
        "time": run.path.name,
        "verdict": verdict,
        "reason": reason,
        "damage": damage.replace(f"{run.path}/", ""),
        "path": str(run.path),
    }


@click.command()
@click.argument("run", default="latest")
@click.option(
    "--window",
    type=click.IntRange(0, 10_000),
    default=12,
    show_default=True,
    help="Ops of its key shown before a failed op.",
)
@click.option("--span", type=options.span_ms, default=20.0, show_default=True, help="Milliseconds of messages drawn.")
@click.option("--key", default=None, metavar="KEY", help="Only the failures and ops of this key, as JSON or as a text.")
@click.option(
    "--around",
    type=click.FloatRange(0, 1e9),
    default=None,
    metavar="SECONDS",
    help="Also the ops and faults of this time, --span to each side.",
)
@STORE
@JSON
def inspect(
    run: str, window: int, span: float, key: str | None, around: float | None, store: Path, as_json: bool
) -> int:
    """What a run came to, and why: the wrong op, where the data was lost, which fault did it; then the ops that show it, with every
    fault between them.

    \b
    Examples:
      themis inspect latest
      themis inspect latest --key 4 --around 9.03 --span 50
    """
    directory = Store(store).find(run)
    asked = inspection.Asked(window, span, key, around, shutil.get_terminal_size().columns)
    if as_json:
        options.echo_json(inspection.as_data(directory, asked))
    else:
        # Colours are put on what is harmless already; click takes them out again where no terminal reads.
        click.echo(coloured(harmless(inspection.as_text(directory, asked))))
    return 0


MARKED = re.compile(r"^(INVALID|UNKNOWN|VALID)\b|^ +[0-9.]+  (>>|!!|<>)")
COLOURS = {"INVALID": "red", "UNKNOWN": "yellow", "VALID": "green", ">>": "red", "!!": "magenta", "<>": "cyan"}


def coloured(text: str) -> str:
    """The same, with the lines that say most in colour."""
    lines = []
    for each in text.splitlines():
        found = MARKED.match(each)
        lines.append(each if found is None else click.style(each, fg=COLOURS[found[1] or found[2]]))
    return "\n".join(lines)
