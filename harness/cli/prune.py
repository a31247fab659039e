"""`themis prune`: removes old runs, so that the disk is free again."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from harness import notation
from harness.cli import options
from harness.cli.options import JSON, STORE
from harness.environments.real import labelled_processes
from harness.errors import HarnessError, UsageError
from harness.report.summary import counted
from harness.store import prune as pruning
from harness.store.runs import Store
from histories.printing import line


@click.command()
@click.option("--older-than", default=None, metavar="AGE", help="Runs that began longer ago: 90m, 12h, 7d, 2w.")
@click.option("--keep", type=click.IntRange(0), default=None, metavar="N", help="Spare the newest N runs of each name.")
@click.option(
    "--verdict", type=click.Choice(pruning.ENDINGS), multiple=True, help="Only runs that came to this; repeatable."
)
@click.option("--data", "only_data", is_flag=True, help="Remove only the nodes' data directories that were kept.")
@click.option("--yes", is_flag=True, help="Remove them. Without it nothing is changed.")
@STORE
@JSON
def prune(
    older_than: str | None,
    keep: int | None,
    verdict: tuple[pruning.Ending, ...],
    only_data: bool,
    yes: bool,
    store: Path,
    as_json: bool,
) -> int:
    """Say which runs would go and how much that frees; with --yes remove them.

    A run goes when it meets everything that is asked. Runs that still go on are never touched. Links that lead nowhere are
    mended. Exit code: 0, 254 bad usage, 255 when something could not be removed.

    \b
    Examples:
      themis prune --older-than 7d --verdict valid
      themis prune --keep 10 --yes
    """
    if older_than is None and keep is None and not verdict and not only_data:
        raise UsageError("say which runs: --older-than AGE, --keep N, --verdict NAME or --data (--keep 0: all runs)")
    if not store.is_dir():
        raise UsageError(f"there is no store {store}; choose another with --store DIR")
    runs = Store(store)
    choice = pruning.Choice(
        older_than_s=None if older_than is None else notation.age_s("--older-than", older_than),
        beyond_newest=keep,
        endings=frozenset(verdict),
        only_data=only_data,
    )
    busy = {process.run_id for process in labelled_processes.labelled()}
    chosen = pruning.choose(runs, choice, datetime.datetime.now(datetime.UTC), busy)
    links = runs.dangling_links()
    problems: dict[str, str] = {}
    if yes:
        for one in chosen:
            if not one.in_use and (problem := pruning.remove(runs, one, only_data=only_data)):
                problems[one.title] = problem
        try:
            runs.mend_links()
        except OSError as error:
            problems["links"] = line(error)
    if as_json:
        options.echo_json(
            {
                "removed": yes,
                "runs": [_row(one, problems.get(one.title, "")) for one in chosen],
                "dangling_links": list(map(str, links)),
            }
        )
    else:
        _tell(chosen, [] if "links" in problems else links, problems, yes, only_data)
    if problems:
        raise HarnessError("not removed: " + "; ".join(f"{title}: {why}" for title, why in problems.items()))
    return 0


def _row(one: pruning.Chosen, problem: str) -> dict[str, object]:
    return {
        "run": one.title,
        "path": str(one.run.path),
        "verdict": one.ending,
        "age_s": one.age_s,
        "size_bytes": one.size_bytes,
        "in_use": one.in_use,
        "problem": problem,
    }


def _tell(
    chosen: list[pruning.Chosen], links: list[Path], problems: dict[str, str], is_done: bool, only_data: bool
) -> None:
    for one in chosen:
        why = one.in_use or ("it could not be removed" if one.title in problems else "")
        left = f"  left alone: {why}" if why else ""
        options.echo(f"{one.ending:<10} {_age(one.age_s):>5} {_size(one.size_bytes):>9}  {line(one.title)}{left}")
    for link in links:
        options.echo(f"{line(link)} led nowhere: {'mended' if is_done else 'would be mended'}")
    going = [one for one in chosen if not one.in_use and one.title not in problems]
    what = f"{'the data of ' if only_data else ''}{counted(len(going), 'run')}"
    freed = _size(sum(one.size_bytes for one in going))
    if is_done:
        options.echo(f"removed {what}, {freed}")
    elif going or links:
        options.echo(f"would remove {what}, {freed}; add --yes to do it")
    else:
        options.echo("nothing to remove")


def _age(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)} {unit}"
    return f"{int(max(0, seconds))} s"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
