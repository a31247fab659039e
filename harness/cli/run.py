"""`themis test` and `analyze`: run, and check again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from harness import notation
from harness.campaign.failing_seeds import Keeping
from harness.cli import options
from harness.cli.ending import note, say, tell
from harness.cli.options import JSON, SHARE, STORE
from harness.cli.reporting import tell_due
from harness.cli.sweep import KEPT_MAX, sweep_seeds
from harness.errors import VALID, UsageError, exit_code
from harness.generators import script as scripts
from harness.report import summary
from harness.run import check, execute, plan
from harness.spec import STATES_MAX, RunSpec
from harness.store.runs import Result, RunDirectory, Store
from histories.printing import block


@click.command()
@click.option("--target", default="raft", show_default=True, help="What to test: a name, or package.module:Name.")
@click.option("--target-option", "-o", multiple=True, metavar="NAME=VALUE", help="An option of the target; repeatable.")
@click.option("--bug", multiple=True, help="Plant this bug of the target; repeatable.")
@click.option("--workload", default="register", show_default=True, help="What clients do, and what is checked.")
@click.option(
    "--workload-option", "-w", multiple=True, metavar="NAME=VALUE", help="An option of the workload; repeatable."
)
@click.option(
    "--consistency",
    default="",
    metavar="MODEL",
    help="Check for this model, such as linearizable. Default: what the target claims.",
)
@click.option("--checker", multiple=True, help="Also run this checker: a name, or package.module:function; repeatable.")
@click.option(
    "--nemesis",
    default="none",
    show_default=True,
    help="Faults, comma separated: partition,kill,pause ..., or package.module:Family; see docs/faults.md.",
)
@click.option(
    "--nemesis-interval", type=float, default=2.0, show_default=True, help="Mean seconds between faults of a kind."
)
@click.option(
    "--fault-share",
    type=float,
    metavar="SHARE",
    help="Share of the time that faults of each kind are in force. Default: 0.3, less where there are more than three kinds.",
)
@click.option(
    "--calm-share",
    type=float,
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the time, in one stretch, without any fault.",
)
@click.option("--beyond-model", is_flag=True, help="Allow faults that the target does not claim to survive.")
@click.option(
    "--schedule",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Replay the faults of this schedule.json, in place of those that --nemesis would plan.",
)
@click.option(
    "--script",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Clients do the ops of this script.json and no others; see themis shrink.",
)
@click.option("--env", default="local", show_default=True, help="Where nodes run: sim, local, netns, docker, ssh.")
@click.option(
    "--env-option", "-e", multiple=True, metavar="NAME=VALUE", help="An option of the environment; repeatable."
)
@click.option("--leave-running", is_flag=True, help="Leave the containers as they are at the end (env docker).")
@click.option("--username", default=None, help="Who logs in to the machines (env ssh). Default: you.")
@click.option("--ssh-private-key", metavar="FILE", default=None, help="The key to log in with (env ssh).")
@click.option("--ssh-port", type=click.IntRange(1, 65535), default=None, help="Of the SSH servers (env ssh).")
@click.option("--ssh-accept-new", is_flag=True, help="Add unknown host keys to known_hosts (env ssh).")
@click.option("--allow-system-clock", is_flag=True, help="Clock faults move the machines' own clocks (env ssh).")
@click.option("--nodes", default="5", show_default=True, help="How many, or their names, comma separated.")
@click.option("--concurrency", default="2n", show_default=True, help="Clients: 10, or 3n for three per node.")
@click.option("--rate", type=float, default=100.0, show_default=True, help="Operations a second in all; 0: no limit.")
@click.option(
    "--time-limit",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds of the main phase, or until its faults are done.",
)
@click.option(
    "--quiet-period",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds between heal and final reads, or as many more as the target says that it needs to settle.",
)
@click.option(
    "--client-timeout", type=float, default=2.0, show_default=True, help="Seconds until a call is indeterminate."
)
@click.option("--seed", type=int, default=None, help="Decides all that is random. Default: a fresh one, printed.")
@click.option(
    "--test-count", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Runs, seeds counting up."
)
@click.option(
    "--seeds",
    default=None,
    metavar="FIRST..LAST",
    help="Sweep these seeds (env sim); each draws an interval up to --nemesis-interval. Those that fail are kept.",
)
@click.option(
    "--swarm",
    is_flag=True,
    help="Each seed of --seeds draws what is left at its default: nodes, faults, rate, mix, transport, time-outs ...",
)
@click.option("--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes of a sweep.")
@click.option(
    "--fail-fast",
    is_flag=True,
    help="End a sweep, or --test-count, at the first run that is not valid (a sweep: nor merely vacuous).",
)
@click.option(
    "--keep-failures",
    type=click.IntRange(min=0),
    default=KEPT_MAX,
    show_default=True,
    metavar="N",
    help="Keep the runs of the first N seeds of --seeds that fail.",
)
@click.option("--name", default="", help="The run's folder below the store. Default: target-workload.")
@click.option("--keep-data", is_flag=True, help="Keep the nodes' data directories, packed, also when the run is valid.")
@SHARE
@click.option("--vacuity", multiple=True, metavar="NAME=NUMBER", help="A threshold below which a run proves nothing.")
@click.option(
    "--check-states", type=click.IntRange(1, STATES_MAX), default=None, help="Budget of configurations for the search."
)
@click.option("--check-time-limit", type=options.budget_s, default=None, help="Budget of seconds for the search.")
@STORE
@JSON
def test(
    target: str,
    target_option: tuple[str, ...],
    bug: tuple[str, ...],
    workload: str,
    workload_option: tuple[str, ...],
    consistency: str,
    checker: tuple[str, ...],
    nemesis: str,
    nemesis_interval: float,
    fault_share: float | None,
    calm_share: float,
    beyond_model: bool,
    schedule: Path | None,
    script: Path | None,
    env: str,
    env_option: tuple[str, ...],
    leave_running: bool,
    username: str | None,
    ssh_private_key: str | None,
    ssh_port: int | None,
    ssh_accept_new: bool,
    allow_system_clock: bool,
    nodes: str,
    concurrency: str,
    rate: float,
    time_limit: float,
    quiet_period: float,
    client_timeout: float,
    seed: int | None,
    test_count: int,
    seeds: str | None,
    swarm: bool,
    jobs: int,
    fail_fast: bool,
    keep_failures: int,
    name: str,
    keep_data: bool,
    share: bool,
    vacuity: tuple[str, ...],
    check_states: int | None,
    check_time_limit: float | None,
    store: Path,
    as_json: bool,
) -> int:
    """Run a system, break it, and check what its clients saw.

    Exit code: 0 valid, 1 invalid, 2 unknown, 130 or 143 ended by Ctrl-C or SIGTERM before anything invalid was found, 254 bad
    usage, 255 the harness failed.

    \b
    Example:
      themis test --target raft --workload register --nemesis partition,kill --nodes 5 --time-limit 20 --seed 7
    """
    names = notation.node_names(nodes)
    if not name and options.given("name"):
        raise UsageError(
            "--name: an empty name is no folder name; leave the flag out for one made of target and workload"
        )
    try:
        spec = RunSpec(
            name=name,
            target=target,
            target_options=options.pairs("--target-option", target_option),
            bugs=tuple(sorted(set(bug))),
            workload=workload,
            workload_options=options.pairs("--workload-option", workload_option),
            consistency=consistency,
            checkers=tuple(dict.fromkeys(checker)),
            nemesis=notation.names(nemesis),
            interval_s=nemesis_interval,
            fault_share=fault_share,
            calm_share=calm_share,
            beyond_model=beyond_model,
            env=env,
            env_options=options.pairs("--env-option", env_option)
            | options.of_docker(env, leave_running)
            | options.of_ssh(env, username, ssh_private_key, ssh_port, ssh_accept_new, allow_system_clock),
            nodes=names,
            concurrency=notation.concurrency(concurrency, len(names)),
            rate_hz=rate,
            time_limit_s=time_limit,
            quiet_s=quiet_period,
            client_timeout_s=client_timeout,
            seed=options.fresh_seed() if seed is None else seed,
            vacuity=options.counts("--vacuity", vacuity),
            check_states=check_states,
            check_time_limit_s=check_time_limit,
            swarm=swarm,
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    refuse_ignored(has_seeds=seeds is not None)
    if swarm and seeds is None:
        raise UsageError("--swarm draws a scenario for each seed of a sweep: add --seeds FIRST..LAST")
    if seeds is not None:
        if script is not None:
            raise UsageError("--seeds draws the ops of each seed anew; run a --script with --seed")
        keeping = Keeping(store, keep_failures, is_shared=share, keep_data=keep_data)
        return sweep_seeds(spec, notation.seed_range(seeds), jobs, fail_fast, schedule, keeping, as_json)
    scripted = None if script is None else scripts.load(script, spec.concurrency)
    ran: list[tuple[RunDirectory, Result]] = []
    codes: set[int] = set()
    try:
        for number in range(test_count):
            numbered = msgspec.structs.replace(spec, seed=spec.seed + number)
            prepared = plan.prepare(numbered, schedule, script=scripted)
            run, result = execute.run_into(Store(store, is_shared=share), prepared, keep_data=keep_data)
            codes.add(note(summary.code(result)))
            ran.append((run, result))
            tell_due(run, result)
            if not as_json:
                options.echo(summary.summary(run, result, prepared.spec))
            if result.signal or (fail_fast and summary.code(result) != VALID):
                break
    except (UsageError, KeyboardInterrupt) as raised:  # What was run so far is told.
        if not ran:
            raise
        codes.add(tell(raised))
    if as_json:
        options.echo_json([as_data(run, result) for run, result in ran] if test_count > 1 else as_data(*ran[0]))
    elif test_count > 1:
        options.echo(summary.tally([result for _, result in ran]))
    return exit_code(codes)


def refuse_ignored(*, has_seeds: bool) -> None:
    """Raises UsageError when the command line has a flag that would have no effect."""
    if has_seeds:
        for name, why in (
            ("seed", "--seeds names the seeds: give one of the two"),
            ("test_count", "--seeds says how many runs there are: give one of the two"),
        ):
            if options.given(name):
                raise UsageError(f"--{name.replace('_', '-')} does nothing here: {why}")
        return
    for name in ("jobs", "keep_failures"):
        if options.given(name):
            raise UsageError(
                f"--{name.replace('_', '-')} does nothing here: it is for a sweep; add --seeds FIRST..LAST"
            )


def as_data(run: RunDirectory, result: Result) -> dict[str, Any]:
    """What `--json` prints for one run."""
    return {"run": str(run.path), "exit_code": summary.code(result), "result": msgspec.to_builtins(result)}


@click.command()
@click.argument("run")
@click.option(
    "--check-states", type=click.IntRange(1, STATES_MAX), default=None, help="Budget of configurations for the search."
)
@click.option("--check-time-limit", type=options.budget_s, default=None, help="Budget of seconds for the search.")
@STORE
@JSON
def analyze(run: str, check_states: int | None, check_time_limit: float | None, store: Path, as_json: bool) -> int:
    """Check a stored run again, also one that was cut off; writes its verdict.json anew.

    \b
    Example:
      themis analyze latest
    """
    directory = Store(store).find(run)
    if directory.is_held():
        # Its own verdict could be written while this one, on the part until now, is made, and be replaced by it.
        raise UsageError(f"{directory.path}: the run still goes on, and writes its verdict at its end")
    if mended := directory.mend_spec():
        tell_mended(mended)
    spec = directory.read_spec()
    budget = msgspec.structs.replace(
        spec,
        check_states=check_states or spec.check_states,
        check_time_limit_s=check_time_limit or spec.check_time_limit_s,
    )
    result = check.analyze(Store(store), directory, budget, tell_mended)
    code = note(summary.code(result))
    tell_due(directory, result)
    if as_json:
        options.echo_json(as_data(directory, result))
    else:
        options.echo(summary.summary(directory, result, spec))
    return code


def tell_mended(text: str) -> None:
    """Say what was damaged in the run's folder."""
    say(block(text))
