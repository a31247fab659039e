"""`themis test --seeds`: runs many seeds of one simulated run in memory, prints a line for each that fails, and explains the
first."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from checkers import Validity
from harness.campaign.sweep import SeedResult, spec_of_seed, sweep
from harness.cli import options
from harness.cli.ending import note, tell
from harness.cli.progress import ProgressLine
from harness.errors import HARNESS, VALID, UsageError, exit_code
from harness.report import summary
from harness.report.failure import failures
from harness.report.story import story
from harness.run.interruption import raising_interrupts
from harness.spec import RunSpec

NEIGHBOURS = 8
"""Ops on the same key that are shown before a failed one."""


def sweep_seeds(spec: RunSpec, seeds: range, jobs: int, fail_fast: bool, schedule: Path | None, as_json: bool) -> int:
    """Run every seed, print for each that fails the command that runs it again into a folder, and return the exit code of all."""
    if spec.env != "sim":
        raise UsageError(f"--seeds sweeps the simulation: add --env sim (for {spec.env}, use --seed and --test-count)")
    if schedule is not None:
        raise UsageError("--seeds plans the faults of each seed anew; replay a --schedule with --seed")
    counted: Counter[Validity] = Counter()
    virtual_s = cpu_s = 0.0
    failed: list[SeedResult] = []
    first_invalid: SeedResult | None = None
    codes: set[int] = set()
    ended_early = ""
    progress = ProgressLine(sys.stderr, "seed", len(seeds))
    try:
        with raising_interrupts(), closing(sweep(spec, seeds, jobs, fail_fast=fail_fast)) as results:
            for result in results:
                counted[result.validity] += 1
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
                progress.show(counted.total())
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - what was swept so far counts, and is told
        progress.clear()
        codes.add(tell(raised))
        ended_early = f"; ended early, after {counted.total()} of {len(seeds)} seeds"
    progress.clear()
    told = {validity.value: counted[validity] for validity in Validity}
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
        words = ", ".join(f"{count} {name.upper()}" for name, count in told.items() if count) or "nothing was checked"
        options.echo(f"{counted.total()} seeds: {words}; {virtual_s:.0f} virtual s in {cpu_s:.1f} CPU s{ended_early}")
    return exit_code(codes)


def explanation(spec: RunSpec, seed: SeedResult) -> list[str]:
    """Why this seed is INVALID, as `themis inspect` would tell it of a run that was kept."""
    assert seed.history is not None, "a seed that is not VALID brings its history"
    lines = ["", f"seed {seed.seed}, in words:"]
    for failure in failures(seed.result, seed.history, spec_of_seed(spec, seed.seed))[:1]:
        lines += story(failure, seed.history, NEIGHBOURS)
    return [*lines, ""]


def as_data(seed: SeedResult) -> dict[str, Any]:
    """What `--json` prints for one seed that is not VALID: the evidence included, the history left out."""
    return {
        "seed": seed.seed,
        "command": seed.command,
        "exit_code": summary.code(seed.result),
        "virtual_s": seed.virtual_s,
        "cpu_s": seed.cpu_s,
        "result": msgspec.to_builtins(seed.result),
    }
