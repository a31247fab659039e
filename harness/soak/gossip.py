"""Healthy gossip over many seeds: every mode under partition, kill, loss and clock, in the simulation.

    python -m harness.soak.gossip STATE [--seeds 2000] [--mode MODE]

STATE is a file of lines, one for each run that has ended. Whoever starts the command again with the same file goes on where it
ended. In each mode the seeds go round its cases: the three workloads, and in mode quorum the five kinds of quorums.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.campaign import sweep
from harness.campaign.command_line import command_line
from harness.spec import RunSpec

WORKLOADS = ("shared-registers", "shared-counters", "shared-sets")
QUORUMS: tuple[Mapping[str, Any], ...] = (
    {},
    {"read_repair": "before-answer"},
    {"quorums": "sloppy"},
    {"quorums": "sloppy", "read_quorum": 1, "write_quorum": 1},
    {"read_quorum": 1, "write_quorum": 3},
)
MODES = ("eventual", "causal", "session", "quorum")
TELL_EVERY = 100


class Ended(msgspec.Struct, frozen=True):
    """One run that has ended. cpu_s: what it took."""

    mode: str
    seed: int
    validity: str
    reason: str
    cpu_s: float


def spec_of(mode: str, seed: int) -> RunSpec:
    """The run of this seed in this mode."""
    more = QUORUMS[seed % len(QUORUMS)] if mode == "quorum" else {}
    return RunSpec(
        target="gossip",
        env="sim",
        nemesis=("partition", "kill", "loss", "clock"),
        workload="shared-registers" if mode == "quorum" else WORKLOADS[seed % len(WORKLOADS)],
        target_options={"mode": mode, **more},
        time_limit_s=10.0,
        rate_hz=100.0,
        seed=seed,
    )


def read(path: Path) -> list[Ended]:
    """What has ended so far. A last line that was cut is no line."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Ended) for line in lines[:-1] if line]


def rest(ended: list[Ended], modes: tuple[str, ...], seeds: int) -> Iterator[tuple[str, int]]:
    """The runs that are left, seed by seed, so that all modes get as far."""
    done = {(each.mode, each.seed) for each in ended}
    return ((mode, seed) for seed in range(1, seeds + 1) for mode in modes if (mode, seed) not in done)


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seeds", type=click.IntRange(1), default=2_000, show_default=True, help="Of each mode, from 1 on.")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="Only this one; repeatable.")
def main(state: Path, seeds: int, modes: tuple[str, ...]) -> None:
    """Run what is left of the seeds; ends with 1 when a run was not VALID."""
    ended = read(state)
    if state.exists():
        state.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in ended))
    with state.open("ab", buffering=0) as file:
        for mode, seed in rest(ended, modes or MODES, seeds):
            began_s = time.process_time()
            spec = spec_of(mode, seed)
            result = sweep.run_seed(spec)
            one = Ended(mode, seed, result.validity.value, result.reason, time.process_time() - began_s)
            file.write(msgspec.json.encode(one) + b"\n")
            ended.append(one)
            if one.validity != "valid":
                click.echo(f"{one.validity}: {one.reason}\n  {command_line(spec)}")
            if len(ended) % TELL_EVERY == 0:
                click.echo(told(ended))
                sys.stdout.flush()
    click.echo(told(ended))
    sys.exit(1 if any(each.validity != "valid" for each in ended) else 0)


def told(ended: list[Ended]) -> str:
    """How many of which mode ended how, in one line."""
    counts = Counter(f"{each.mode} {each.validity}" for each in ended)
    what = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{what or 'nothing'}; {sum(each.cpu_s for each in ended):.0f} CPU s"


if __name__ == "__main__":
    main()
