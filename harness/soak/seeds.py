"""Many seeds of several kinds of simulated runs, one after another, in a file that says which have ended.

The file holds one line for each run. Whoever starts a command again with the same file goes on where it ended.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import msgspec

from harness.campaign import sweep
from harness.campaign.command_line import command_line
from harness.soak import state_file
from harness.spec import RunSpec

TELL_EVERY = 100


class Ended(msgspec.Struct, frozen=True):
    """One run that has ended. mode: which kind of run of its command. cpu_s: what it took."""

    mode: str
    seed: int
    validity: str
    reason: str
    cpu_s: float


def rest(ended: list[Ended], wanted: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The runs that are left of each mode's seeds from 1 on; seed by seed, so that all modes get as far."""
    done = {(each.mode, each.seed) for each in ended}
    for seed in range(1, max(wanted.values(), default=0) + 1):
        yield from ((mode, seed) for mode, last in wanted.items() if seed <= last and (mode, seed) not in done)


def soak(state: Path, wanted: Mapping[str, int], spec_of: Callable[[str, int], RunSpec]) -> bool:
    """Run what is left of each mode's seeds, and print what is not VALID and how far it came. Whether all that ended, also
    earlier, is VALID."""
    ended = state_file.read(state, Ended)
    for mode, seed in rest(ended, wanted):
        began_s = time.process_time()
        spec = spec_of(mode, seed)
        result = sweep.run_seed(spec)
        one = Ended(mode, seed, result.validity.value, result.reason, time.process_time() - began_s)
        state_file.add(state, one)
        ended.append(one)
        if one.validity != "valid":
            click.echo(f"{one.validity}: {one.reason}\n  {command_line(spec)}")
        if len(ended) % TELL_EVERY == 0:
            click.echo(told(ended))
            sys.stdout.flush()
    click.echo(told(ended))
    return all(each.validity == "valid" for each in ended)


def told(ended: list[Ended]) -> str:
    """How many of which mode ended how, in one line."""
    counts = Counter(f"{each.mode} {each.validity}" for each in ended)
    what = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{what or 'nothing'}; {sum(each.cpu_s for each in ended):.0f} CPU s"
