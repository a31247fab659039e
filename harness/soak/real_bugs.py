"""The healthy targets and the planted bugs of consensus on real nodes with a network of their own: netns and docker.

    python -m harness.soak.real_bugs STATE --env netns [--runs 5] [--most N] [--bug TARGET:BUG]

A healthy run of a minute under partition, kill, pause and clock must be VALID. A bug gets up to five runs of a minute under the
faults of its scenario (harness.zoo), until one is INVALID. STATE is a file of lines, one for each run that has ended; whoever
starts the command again with the same file goes on where it ended. --most ends it after so many runs: for machines on which
others want the network too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from checkers.verdict import Validity
from harness.campaign.real_nodes import real_spec
from harness.report.summary import first_reason
from harness.run import plan
from harness.run.execute import run_into
from harness.soak import state_file
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.zoo import paxos, raft

TIME_LIMIT_S = 60.0
HEALTHY = "healthy"
FAULTS = ("partition", "kill", "pause", "clock")
TARGETS = ("raft", "paxos", "paxos-single")
PLANTED = {f"{planted.target}:{planted.bug}": planted for planted in (*paxos.PLANTED, *raft.PLANTED)}
NOTHING_LEFT = 3
"""Exit status when every run that was wanted has been."""


class Ended(msgspec.Struct, frozen=True):
    """One run that has ended. name: TARGET:BUG, or TARGET:healthy. lasted_s: of wall time, set-up and checks included."""

    env: str
    name: str
    number: int
    validity: str
    reason: str
    lasted_s: float


def spec_of(env: str, name: str, number: int) -> RunSpec:
    """The run of this number of a bug, or of a healthy target."""
    if name in PLANTED:
        spec = real_spec(PLANTED[name], number, env)
    else:
        target = name.partition(":")[0]
        workload = "consensus" if target == "paxos-single" else "register"
        spec = RunSpec(env=env, target=target, workload=workload, nemesis=FAULTS, seed=number)
    return replace(spec, time_limit_s=TIME_LIMIT_S)


def rest(ended: list[Ended], env: str, names: list[str], runs_max: int) -> Iterator[tuple[str, int]]:
    """What is left: the healthy targets once, every bug until it is found or has had its runs; all bugs get as far."""
    for number in range(1, runs_max + 1):
        for name in names:
            before = [each for each in ended if (each.env, each.name) == (env, name)]
            is_over = bool(before) if name not in PLANTED else any(each.validity == "invalid" for each in before)
            if len(before) < number and not is_over:
                yield name, number


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--env", type=click.Choice(["local", "netns", "docker"]), required=True)
@click.option("--runs", "runs_max", type=click.IntRange(1), default=5, show_default=True, help="Of each bug at most.")
@click.option("--most", type=click.IntRange(1), help="End after so many runs.")
@click.option(
    "--bug", "only", multiple=True, help="Only this one, such as raft:stale-read or raft:healthy; repeatable."
)
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), default=Path("store"), show_default=True)
def main(state: Path, env: str, runs_max: int, most: int | None, only: tuple[str, ...], store: Path) -> None:
    """Run what is left; ends with 1 when a healthy run was not VALID, 3 when nothing was left."""
    healthy = [f"{target}:{HEALTHY}" for target in TARGETS]
    names = list(only) or [*healthy, *PLANTED]
    if unknown := [name for name in names if name not in healthy and name not in PLANTED]:
        raise click.UsageError(f"--bug {unknown[0]}: give one of {', '.join([*healthy, *PLANTED])}")
    is_healthy, done = True, 0
    while done != most and (left := next(rest(state_file.read(state, Ended), env, names, runs_max), None)) is not None:
        name, number = left
        began_s = time.monotonic()
        run, result = run_into(Store(store), plan.prepare(spec_of(env, name, number)))
        if result.signal:
            sys.exit(130)
        one = Ended(env, name, number, result.verdict.validity.value, first_reason(result), time.monotonic() - began_s)
        state_file.add(state, one)
        click.echo(f"{env} {name}, run {number}: {one.validity}, {one.lasted_s:.0f} s {one.reason[:200]}")
        is_healthy &= name in PLANTED or result.verdict.validity is Validity.VALID
        if result.verdict.validity is Validity.VALID or name in PLANTED:
            Store(store).remove(run)
        done += 1
    if not done:
        sys.exit(NOTHING_LEFT)
    sys.exit(0 if is_healthy else 1)


if __name__ == "__main__":
    main()
