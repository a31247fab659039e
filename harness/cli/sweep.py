"""`themis test --seeds`: runs many seeds of one simulated run in memory, keeps those that fail, and explains the first."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from checkers import Validity
from harness.campaign.failing_seeds import Keeping, Kept
from harness.campaign.sweep import SeedResult, is_finding, kept_in, spec_of_seed, sweep
from harness.cli import options
from harness.cli.ending import note, tell
from harness.cli.progress import ProgressLine
from harness.errors import HARNESS, VALID, UsageError, exit_code
from harness.report import summary
from harness.report.failure import failures
from harness.report.story import story
from harness.run.interruption import raising_interrupts
from harness.spec import RunSpec
from harness.store.runs import Store

KEPT_MAX = 100
"""Failing seeds that are kept unless another number is asked for: a bug that many seeds show is not to fill the disk."""
NEIGHBOURS = 8
"""Ops on the same key that are shown before a failed one."""


def sweep_seeds(
    spec: RunSpec, seeds: range, jobs: int, fail_fast: bool, schedule: Path | None, keeping: Keeping, as_json: bool
) -> int:
    """Run every seed, print for each that fails the command that runs it again and the folder it is kept in, and return the exit
    code of all."""
    if spec.env != "sim":
        raise UsageError(f"--seeds sweeps the simulation: add --env sim (for {spec.env}, use --seed and --test-count)")
    if schedule is not None:
        raise UsageError("--seeds plans the faults of each seed anew; replay a --schedule with --seed")
    if keeping.at_most:
        Store(keeping.store).check()
    tally: Counter[Validity] = Counter()
    virtual_s = cpu_s = 0.0
    failed: list[SeedResult] = []
    first_invalid: SeedResult | None = None
    codes: set[int] = set()
    ended_early = ""
    # With fail_fast only the one that is told is kept, and not what other processes found meanwhile.
    is_kept_here = jobs == 1 or fail_fast
    elsewhere = None if is_kept_here else keeping
    progress = ProgressLine(sys.stderr, "seed", len(seeds))
    try:
        with raising_interrupts(), closing(sweep(spec, seeds, jobs, fail_fast=fail_fast, keeping=elsewhere)) as results:
            for result in results:
                tally[result.validity] += 1
                virtual_s, cpu_s = virtual_s + result.virtual_s, cpu_s + result.cpu_s
                codes.add(code := note(summary.code(result.result)))
                if code != VALID:
                    if first_invalid is None and result.validity is Validity.INVALID:
                        first_invalid = result
                    # A history is large, and only one is explained.
                    failed.append(msgspec.structs.replace(result, history=None))
                    if not as_json:
                        progress.clear()
                        word = "HARNESS FAILURE" if code == HARNESS else result.validity.name
                        options.echo(f"{word} seed {result.seed}: {result.reason}\n  {result.command}")
                    if (
                        is_kept_here
                        and is_finding(result)
                        and sum(one.kept is not None for one in failed) < keeping.at_most
                    ):
                        failed[-1] = kept_in(keeping, spec_of_seed(spec, result.seed), failed[-1])
                    if not as_json and (kept := failed[-1].kept) is not None:
                        options.echo("\n".join(f"  {line}" for line in told_of(kept)))
                progress.show(tally.total())
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - what was swept so far counts, and is told
        progress.clear()
        codes.add(tell(raised))
        ended_early = f"; ended early, after {tally.total()} of {len(seeds)} seeds"
    progress.clear()
    told = {validity.value: tally[validity] for validity in Validity}
    if as_json:
        options.echo_json(
            {
                "seeds": told,
                "ended_early": bool(ended_early),
                "virtual_s": virtual_s,
                "cpu_s": cpu_s,
                "failed": [as_data(one) for one in failed],
            }
        )
    else:
        if first_invalid is not None:
            options.echo("\n".join(explanation(spec, first_invalid)))
        if folders := told_of_all(failed, keeping):
            options.echo(folders)
        words = ", ".join(f"{count} {name.upper()}" for name, count in told.items() if count) or "nothing was checked"
        options.echo(
            f"{summary.counted(tally.total(), 'seed')}: {words}; {virtual_s:.0f} virtual s in {cpu_s:.1f} CPU s{ended_early}"
        )
    return exit_code(codes)


def explanation(spec: RunSpec, seed: SeedResult) -> list[str]:
    """Why this seed is INVALID, as `themis inspect` would tell it of a run that was kept."""
    assert seed.history is not None, "a seed that is not VALID brings its history"
    lines = ["", f"seed {seed.seed}, in words:"]
    for failure in failures(seed.result, seed.history, spec_of_seed(spec, seed.seed))[:1]:
        lines += story(failure, seed.history, NEIGHBOURS)
    return [*lines, ""]


def told_of(kept: Kept) -> list[str]:
    """The folder of one seed, and what went wrong with keeping it."""
    if not kept.run:
        return [f"not kept: {kept.problem}"]
    return [f"kept in {kept.run}", *([kept.problem] if kept.problem else [])]


def told_of_all(failed: list[SeedResult], keeping: Keeping) -> str:
    """Where the runs are that failed, and how many are not there; "" when nothing was found."""
    found = [one for one in failed if is_finding(one)]
    kept = sum(one.kept is not None and bool(one.kept.run) for one in found)
    if not found or not keeping.at_most:
        return ""
    told = f"{kept} of {len(found)} failing runs kept in {keeping.store}; themis list shows them"
    return f"{told}; --keep-failures {keeping.at_most} bounds them" if kept == keeping.at_most < len(found) else told


def as_data(seed: SeedResult) -> dict[str, Any]:
    """What `--json` prints for one seed that is not VALID: the evidence included, the history left out."""
    return {
        "seed": seed.seed,
        "command": seed.command,
        "run": seed.kept.run if seed.kept and seed.kept.run else None,
        "exit_code": summary.code(seed.result),
        "virtual_s": seed.virtual_s,
        "cpu_s": seed.cpu_s,
        "result": msgspec.to_builtins(seed.result),
    }
