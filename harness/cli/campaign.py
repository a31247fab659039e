"""`themis campaign`: a matrix of runs with a budget, for every night."""

from __future__ import annotations

import datetime
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click
from msgspec.structs import replace

from harness import notation
from harness.campaign.campaign_file import Campaign, read_campaign
from harness.campaign.campaign_report import CampaignReport, as_data, as_junit, as_markdown, as_text, report_of
from harness.campaign.engines import engine
from harness.campaign.findings import read_known
from harness.campaign.runner import CampaignRunner
from harness.campaign.starting_file import STARTING_FILE
from harness.campaign.state import CampaignFolder
from harness.campaign.strategy import STRATEGIES, StrategyName
from harness.campaign.zoo_file import zoo_file, zoo_known_file
from harness.cli import options
from harness.cli.ending import note, say, tell
from harness.cli.options import JSON, SHARE, STORE
from harness.cli.progress import StatusLine
from harness.cli.reporting import check_place
from harness.errors import UsageError, exit_code
from harness.run.interruption import raising_interrupts
from harness.store.packing import files_below, pack
from harness.store.runs import Store, write_atomically, write_json
from histories.printing import line

FOLDER = click.argument("campaign", default="latest")
SCHEDULER = click.option(
    "--scheduler",
    default=None,
    metavar="ADDRESS",
    help="Simulate on the workers of this Dask scheduler, such as tcp://host:8786, instead of processes of this machine.",
)


@click.group()
def campaign() -> None:
    """Run many combinations of targets, workloads and faults over many seeds, and report what was found.

    \b
    Example:
      themis campaign init nightly.yaml
      themis campaign run nightly.yaml
    """


@campaign.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=None, required=False)
@click.option(
    "--zoo", is_flag=True, help="The campaign over all planted bugs, with a file of known findings beside it, instead."
)
def init(file: Path | None, zoo: bool) -> int:
    """Write a campaign file to start from, with every key explained. Default: campaign.yaml, or zoo.yaml with --zoo."""
    file = file or Path("zoo.yaml" if zoo else "campaign.yaml")
    texts = {file: STARTING_FILE}
    if zoo:
        known = file.with_name(f"{file.stem}-known{file.suffix}")
        texts = {known: zoo_known_file(), file: zoo_file(known.name)}
    for path, text in texts.items():
        try:
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except FileExistsError:
            raise UsageError(f"{path} is there already; name another file") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    options.echo(f"written: {line(file)}; run it: themis campaign run {line(file)}")
    return 0


@campaign.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--budget", default=None, metavar="TIME", help="Instead of the file's: 90s, 30m, 8h.")
@click.option("--seeds", default=None, metavar="FIRST..LAST", help="Of each combination, instead of the file's.")
@click.option("--jobs", type=click.IntRange(1, 1024), default=None, help="Instead of the file's number of processes.")
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    default=None,
    help="Instead of the file's: each simulated run drawn afresh, or going on from rare behaviour of earlier runs.",
)
@SCHEDULER
@SHARE
@STORE
@JSON
def run(
    file: Path,
    budget: str | None,
    seeds: str | None,
    jobs: int | None,
    strategy: StrategyName | None,
    scheduler: str | None,
    share: bool,
    store: Path,
    as_json: bool,
) -> int:
    """Run the campaign in FILE.

    Every outcome is on the disk as soon as it is known: after Ctrl-C, a crash or a kill, `themis campaign resume` goes on.

    Exit code: 1 something invalid was found that the file of known findings does not expect, 255 the harness failed in some run,
    2 too little was tested, 0 otherwise; 130 or 143 ended by a signal before anything invalid was found; 254 bad usage.
    """
    plan = with_flags(read_campaign(file), budget, jobs)
    if seeds is not None:
        chosen = notation.seed_range(seeds)
        plan = replace(plan, seeds=(chosen.start, chosen.stop - 1))
    plan = replace(plan, strategy=strategy or plan.strategy)
    read_known(plan.known)  # Before anything runs.
    folder = CampaignFolder.create(store, plan)
    return go_on(folder, plan, Store(store, is_shared=share), scheduler, as_json)


@campaign.command()
@FOLDER
@click.option("--budget", default=None, metavar="TIME", help="In all, instead of the file's: 90s, 30m, 8h.")
@click.option("--jobs", type=click.IntRange(1, 1024), default=None, help="Instead of the file's number of processes.")
@SCHEDULER
@SHARE
@STORE
@JSON
def resume(
    campaign: str,
    budget: str | None,
    jobs: int | None,
    scheduler: str | None,
    share: bool,
    store: Path,
    as_json: bool,
) -> int:
    """Go on with a campaign that was interrupted: CAMPAIGN is its folder or its name. What was done is not done again."""
    folder = CampaignFolder.find(store, campaign)
    return go_on(folder, with_flags(folder.read(), budget, jobs), Store(store, is_shared=share), scheduler, as_json)


@campaign.command()
@FOLDER
@STORE
@JSON
def report(campaign: str, store: Path, as_json: bool) -> int:
    """Report anew what a campaign has found so far, with the known findings of today."""
    folder = CampaignFolder.find(store, campaign)
    return tell_report(folder, folder.read(), as_json, set())


@campaign.command()
@FOLDER
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Default: CAMPAIGN-NAME.zip."
)
@STORE
def bundle(campaign: str, output: Path | None, store: Path) -> int:
    """Pack the reports and the kept and shrunk runs of a campaign into one zip file, for upload."""
    folder = CampaignFolder.find(store, campaign)
    plan = folder.read()
    target = output or Path(f"{plan.name}.zip")
    place = check_place(target)
    found = report_on(folder, plan, ended_early=False)
    write_reports(folder, plan, found)
    runs = {
        folder.place_of(path)
        for finding in found.findings
        for path in (finding.shrunk, *(one.run for one in finding.outcomes))
        if path
    }
    files = [(path, Path(plan.name, path.relative_to(folder.path))) for path in files_below(folder.path)]
    for directory in sorted(path for path in runs if path.is_dir()):
        root = Path(plan.name, "runs", directory.parent.name, directory.name)
        files += [(path, root / path.relative_to(directory)) for path in files_below(directory)]
    new = place.with_name(f".{place.name}.new")
    try:
        with new.open("wb") as packed:
            left_out = pack(packed, files)
        new.replace(place)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        new.unlink(missing_ok=True)
    left_out += [f"{path}: this run was kept, and is not there any more" for path in sorted(runs) if not path.is_dir()]
    for why in left_out:
        say(f"left out: {line(why)}")
    options.echo(f"packed: {line(target)}, {place.stat().st_size:,} bytes")
    return 0


def with_flags(plan: Campaign, budget: str | None, jobs: int | None) -> Campaign:
    """The campaign with what the command line says instead of its file."""
    if budget is not None:
        plan = replace(plan, budget_s=notation.age_s("--budget", budget))
    return replace(plan, jobs=jobs or plan.jobs or os.cpu_count() or 1)


def go_on(folder: CampaignFolder, plan: Campaign, store: Store, scheduler: str | None, as_json: bool) -> int:
    """Run what is left, shrink what was found, and report, whatever ends it."""
    read_known(plan.known)  # Before anything runs.
    status = StatusLine(sys.stderr)
    codes: set[int] = set()

    def say(text: str) -> None:
        status.clear()
        if not as_json:
            options.echo(text)

    with folder.held():
        try:
            with ExitStack() as stack:
                stack.enter_context(raising_interrupts())
                executor, jobs = stack.enter_context(engine(plan.jobs, scheduler))
                runner = CampaignRunner(store, folder, plan, show=lambda counts: status.show(counts.words), say=say)
                runner.run(executor, jobs)
                runner.shrink(executor, jobs)
        except (Exception, KeyboardInterrupt) as raised:
            if isinstance(raised, UsageError) and not folder.results.exists():
                raise
            status.clear()
            codes.add(tell(raised))
        status.clear()
        return tell_report(folder, plan, as_json, codes)


def tell_report(folder: CampaignFolder, plan: Campaign, as_json: bool, codes: set[int]) -> int:
    """Report on what the folder holds, there and on standard output, and return the exit code of the command. codes: of what ended
    the campaign early. A report that cannot be written is told all the same."""
    found = report_on(folder, plan, ended_early=bool(codes))
    note(found.code)
    try:
        write_reports(folder, plan, found)
    except UsageError as error:
        codes = {*codes, tell(error)}
    code = note(exit_code({*codes, found.code}))
    if as_json:
        options.echo_json({"folder": str(folder.path), **as_data(found), "exit_code": code})
    else:
        options.echo(f"{as_text(found)}\n  {line(folder.path)}: report.md, report.json, junit.xml, results.jsonl")
    return code


def report_on(folder: CampaignFolder, plan: Campaign, *, ended_early: bool) -> CampaignReport:
    """The report on what the folder holds, with the known findings of today."""
    today = datetime.datetime.now(datetime.UTC).date()
    return report_of(
        plan,
        folder.outcomes(plan),
        folder.shrunk_runs(),
        read_known(plan.known),
        today,
        ended_early=ended_early,
    )


def write_reports(folder: CampaignFolder, plan: Campaign, found: CampaignReport) -> None:
    """The report is in the folder: report.md, report.json, junit.xml. Raises UsageError."""
    try:
        write_atomically(folder.path / "report.md", as_markdown(found).encode())
        write_json(folder.path / "report.json", as_data(found))
        write_atomically(folder.path / "junit.xml", as_junit(plan, found))
    except OSError as error:
        raise UsageError(f"{folder.path} cannot be written: {error.strerror or error}") from error
