"""`themis check`: any recorded history against a model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import click

from checkers import Validity
from checkers.linearizability import UnfitHistory, linearizable
from checkers.models import registry
from harness.cli import options
from harness.errors import UsageError, unknown_name
from harness.report import summary
from histories.files import load
from histories.loaded import Format, Loaded
from histories.sources import name_of
from histories.wellformed import MalformedHistory

MISFITS_SHOWN = 20


@click.command()
@click.argument("history", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The sequential specification: a name, or package.module:Name.")
@click.option("--format", "format_", type=click.Choice(("auto", *get_args(Format))), default="auto", show_default=True)
@click.option("--states", type=click.IntRange(1), default=None, help="Budget: configurations; UNKNOWN beyond it.")
@click.option("--time-limit", type=options.budget_s, default=None, help="Budget: seconds.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Keys checked at once. Default: the cores.")
@click.option(
    "--failed-cas",
    type=click.Choice(("ignore", "observe")),
    default=None,
    help="Whether a failed cas proves that the value was another. Default: ignore (Knossos); observe for jepsen-log.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON document.")
def check(
    history: Path,
    model: str,
    format_: Literal["auto", "jsonl", "edn", "jepsen-log", "kv-log"],
    states: int | None,
    time_limit: float | None,
    jobs: int | None,
    failed_cas: str | None,
    as_json: bool,
) -> int:
    """Is this recorded history linearizable? Reads ours, Jepsen's and Knossos's EDN, and Porcupine's logs.

    HISTORY may be packed with gzip; - is standard input. docs/histories.md describes the formats.

    Exit code: 0 valid, 1 invalid, 2 unknown, 254 when the history is malformed.

    \b
    Example:
      themis check store/latest/history.jsonl --model cas-register
    """
    try:
        specification = registry.find(model)
    except LookupError:
        raise unknown_name("model", model, registry.names()) from None
    except (ImportError, AttributeError, TypeError) as error:
        raise UsageError(f"--model {model}: {error}") from error
    try:
        loaded = load(history, format_)
    except MalformedHistory as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{name_of(history)}: {error.strerror or error}") from error
    if loaded.truncated and not as_json:
        click.echo(f"{name_of(history)}: the last line is cut off; checking what is before it", err=True)
    observe = failed_cas == "observe" if failed_cas else loaded.format == "jepsen-log"
    try:
        verdict = linearizable(
            loaded.history,
            specification,
            states_max=states,
            time_limit_s=time_limit,
            jobs=jobs,
            refused=observe,
            nil_reads=loaded.nil_reads_are_wildcards,
        )
    except UnfitHistory as error:
        raise UsageError(unfit(name_of(history), loaded, error)) from error
    if as_json:
        options.echo_json(verdict)
    else:
        click.echo(summary.verdict_text(verdict, name_of(history)))
    return {Validity.VALID: 0, Validity.INVALID: 1, Validity.UNKNOWN: 2}[verdict.validity]


def unfit(name: str, loaded: Loaded, error: UnfitHistory) -> str:
    """Which lines of the file the model cannot take, and why: the first of each kind."""
    lines = [f"{name}: the history does not fit the model {error.model}:"]
    for misfit in error.misfits[:MISFITS_SHOWN]:
        where = f"line {loaded.lines[misfit.index]}" if loaded.lines else f"op {misfit.index}"
        lines.append(f"  {where}: {misfit.detail}")
    if len(error.misfits) > MISFITS_SHOWN:
        lines.append(f"  ... and {len(error.misfits) - MISFITS_SHOWN} more")
    return "\n".join(lines)


COMMANDS = (check,)
