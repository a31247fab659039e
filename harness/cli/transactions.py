"""The options of `themis check --workload`: which models of transactions a recorded history shall keep."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import cast

from checkers import Verdict, guarded
from checkers.transactions import Inference, UnfitTransactions, Wanted, Workload, transactions
from checkers.transactions.exact import EXACT_MODELS, exact
from checkers.transactions.models import ANOMALIES, MODELS, OTHER_NAMES, canonical
from harness.cli.courses import judge_courses
from harness.errors import UsageError, unknown_name
from histories.history import History
from histories.loaded import Loaded
from histories.printing import line

WORKLOADS: tuple[str, ...] = ("list-append", "rw-register")
"""Whole transactions, of any shape: all anomalies are looked for."""
PROBLEMS_SHOWN = 20


def wanted(
    models: str | None, anomalies: str | None, *, sequential_keys: bool, linearizable_keys: bool, wfr_keys: bool
) -> Wanted:
    """What the comma-separated names ask for; with neither models nor anomalies, strict serializability, as in Elle.

    Raises UsageError for a name that is unknown.
    """
    chosen = ["strict-serializable"] if models is None and anomalies is None else list(_names(models))
    for name in chosen:
        try:
            canonical(name)
        except LookupError:
            raise unknown_name("consistency model", name, {*MODELS, *OTHER_NAMES}) from None
    forbidden = list(_names(anomalies))
    for name in forbidden:
        if name not in ANOMALIES:
            raise unknown_name("anomaly", name, ANOMALIES)
    if not chosen and not forbidden:
        raise UsageError("--consistency-models and --anomalies name nothing: nothing would be forbidden")
    inference = Inference(wfr_keys=wfr_keys, sequential_keys=sequential_keys, linearizable_keys=linearizable_keys)
    return Wanted(tuple(map(canonical, chosen)), tuple(forbidden), inference)


def _names(text: str | None) -> Iterable[str]:
    return (name.strip().removeprefix(":") for name in (text or "").split(",") if name.strip())


def require_no_real_time(name: str, asked: Wanted | None, *, alone: bool) -> None:
    """Nothing is asked that needs to know which of two sessions' transactions came first. Raises UsageError."""
    if asked is None or not alone:
        raise UsageError(
            f"{name} tells sessions and no times: --workload rw-register can check it, and --consistency causal or another "
            "model of reads and writes (docs/eventual.md)"
        )
    if asked.variants[-1] == "-realtime" or asked.inference.linearizable_keys:
        raise UsageError(
            f"{name} tells sessions and no times, so that nothing that counts real time can be checked: add "
            "--consistency-models strong-session-serializable, serializable, or one that is weaker"
        )


def judge(loaded: Loaded, workload: str, asked: Wanted) -> Verdict:
    """The verdict on the history. Raises UnfitTransactions for one that is no history of this workload."""
    history = loaded.history
    if not any(op.is_client for op in history):
        return Verdict.unknown("nothing was checked: there is no operation of a client", workload)

    def check(course: History) -> Verdict:
        return transactions(course, cast(Workload, workload), asked)

    return guarded(workload, partial(judge_courses, workload, check, history), lets_pass=(UnfitTransactions,))


def require_exact(workload: str | None, asked: Wanted | None, *, has_anomalies: bool) -> None:
    """The options ask for what an exact check can decide: one model of registers, without assumptions. Raises UsageError."""
    if workload == "list-append":
        raise UsageError(
            "lists show their order themselves: without --exact they are decided as well; it is for rw-register"
        )
    if workload != "rw-register" or asked is None:
        raise UsageError("--exact is for --workload rw-register")
    if asked.inference.names:
        raise UsageError(f"--exact assumes nothing: leave out --{' --'.join(asked.inference.names)}")
    if has_anomalies or len(asked.models) != 1 or asked.models[0] not in EXACT_MODELS:
        raise UsageError(f"--exact decides one of --consistency-models {', '.join(EXACT_MODELS)}")


def judge_exactly(loaded: Loaded, asked: Wanted, time_limit_s: float | None) -> Verdict:
    """The verdict of an exact check. Raises UnfitTransactions."""
    (model,) = asked.models

    def check(course: History) -> Verdict:
        return exact(course, model, time_limit_s=time_limit_s)

    return guarded("exact", partial(judge_courses, "exact", check, loaded.history), lets_pass=(UnfitTransactions,))


def unfit(name: str, loaded: Loaded, workload: str, error: UnfitTransactions) -> str:
    """Which lines of the file are no transactions of the workload, and why."""
    lines = [f"{name} is not a history of {workload}:"]
    for problem in error.problems[:PROBLEMS_SHOWN]:
        where = f"line {loaded.lines[problem.position]}" if loaded.lines else f"op {problem.position}"
        lines.append(f"  {where}: {problem.rule}: {line(problem.detail)}")
    if len(error.problems) > PROBLEMS_SHOWN:
        lines.append(f"  ... and {len(error.problems) - PROBLEMS_SHOWN} more")
    return "\n".join(lines)
