"""How one run of a campaign ended, as one line of its results."""

from __future__ import annotations

import msgspec

from checkers import Validity
from harness.campaign.strategy import Lesson, Trial, run_trial
from harness.report.anomaly import anomaly_classes
from harness.report.summary import first_reason
from harness.store.runs import Result


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of one run.

    cell, seed: which run it was. classes: of its anomalies, the first checker's first. words: why it is not VALID, in one line.
    harness: why the harness failed; "" when it did not. ops, ok: client ops that were asked for, and that succeeded. elapsed_s:
    since the campaign began, without the time between an interruption and the next resume. command: runs it again. run: its folder,
    where it was kept.
    """

    cell: int
    seed: int
    validity: Validity
    classes: tuple[str, ...] = ()
    words: str = ""
    harness: str = ""
    ops: int = 0
    ok: int = 0
    faults: int = 0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    elapsed_s: float = 0.0
    command: str = ""
    run: str = ""

    @property
    def is_good(self) -> bool:
        """VALID, and the harness did not fail."""
        return self.validity is Validity.VALID and not self.harness


def outcome_of(cell: int, seed: int, result: Result, command: str) -> Outcome:
    """The outcome that `result` of the cell's run of this seed is."""
    failure = result.harness[0] if result.harness else None
    return Outcome(
        cell=cell,
        seed=seed,
        validity=result.verdict.validity,
        classes=anomaly_classes(result),
        words=first_reason(result)[:2_000],
        harness=f"{failure.phase}: {failure.error}"[:2_000] if failure else "",
        ops=result.counts.get("invoke", 0),
        ok=result.counts.get("ok", 0),
        faults=result.counts.get("faults", 0),
        command=command,
    )


class Simulated(msgspec.Struct, frozen=True):
    """A simulated run of a campaign. lesson: what its strategy learns from it; None where it learns nothing."""

    outcome: Outcome
    lesson: Lesson | None = None


def simulated(cell: int, seed: int, trial: Trial, observes: bool) -> Simulated:
    """Simulate a run of the cell in this process, in memory. What goes wrong outside the run is a failure of the harness."""
    try:
        done, faults, seen = run_trial(trial, observes)
    except Exception as error:  # noqa: BLE001 - one run of thousands: it counts as failed, and the others go on
        return Simulated(
            Outcome(
                cell=cell,
                seed=seed,
                validity=Validity.UNKNOWN,
                words=str(error),
                harness=f"run: {type(error).__name__}: {error}",
            )
        )
    outcome = outcome_of(cell, seed, done.result, done.command)
    outcome = msgspec.structs.replace(outcome, cpu_s=round(done.cpu_s, 4), virtual_s=round(done.virtual_s, 3))
    return Simulated(outcome, Lesson(trial, faults, seen) if observes else None)
