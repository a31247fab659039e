"""Checks that the system served again after the last fault was lifted: a run whose cluster was dead to the end proves little.

The verdict is never INVALID: in real time nobody can say how long is too long. (In the simulation `liveness` can.)
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from checkers.evidence import Recovery
from checkers.verdict import Verdict
from checkers.windows import fault_windows
from histories.history import History
from histories.op import Op

CHECKER = "recovery"
SILENT_MIN = 5
"""A history that ends with so many unanswered ops did not recover by bad luck: final reads are tried until they succeed."""
UNANSWERED = frozenset({"timeout", "timed-out", "not-sent", "reset", "bad-reply"})
"""The errors of calls that got no answer, as the histories name them: the values of `why` in targets.session.NoReply, and Jepsen's
word."""


def recovery(history: History) -> Verdict:
    """VALID when every fault was seen to end and ops succeeded after that, else UNKNOWN with what did not; never
    INVALID. Without faults only the last ops count.

    When the last fault had been lifted at least one client op must have been invoked and have ended `ok`. The history
    must not end with SILENT_MIN ops that nobody answered: final reads that never succeeded. Nodes whose data a fault
    damaged need not serve.
    """
    windows = fault_windows(history)
    unhealed = [window for window in windows if window.lifted_ns is None]
    reasons = [f"{window.title} was not seen to end" for window in unhealed]
    silent: Counter[str] = Counter()
    healed_ns = max((window.lifted_ns for window in windows if window.lifted_ns is not None), default=0)
    tried = list(_since(history, healed_ns).clients().pairs())
    ok_ns = [end.time for _, end in tried if end is not None and end.type == "ok"]
    stats: dict[str, Any] = {"healed_ns": healed_ns, "tried_count": len(tried), "ok_count": len(ok_ns)}
    if not windows and not ok_ns:
        pass  # Nothing was to recover from; that nothing was served is told as vacuous.
    elif not tried:
        reasons.append("no client op was tried after the last fault was lifted")
    elif not ok_ns:
        reasons.append(
            f"none of the {len(tried)} client ops after the last fault was lifted succeeded{_commonest(tried)}"
        )
    else:
        last_ok_ns = max(ok_ns)
        excused = {node for window in windows if window.damages for node in window.nodes}
        silent = Counter(
            end.node or invocation.node or "?"
            for invocation, end in tried
            if end is not None and end.time > last_ok_ns and is_unanswered(end) and end.node not in excused
        )
        if silent.total() >= SILENT_MIN:
            nodes = ", ".join(sorted(silent))
            reasons.append(
                f"the last {silent.total()} client ops, to {nodes}, got no answer, and no op succeeded after them"
            )
    if reasons:
        evidence = Recovery(tuple(reasons), tuple(window.id for window in unhealed), dict(sorted(silent.items())))
        return Verdict.unknown(f"not recovered: {'; '.join(reasons)}", CHECKER, evidence=evidence, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _since(history: History, time_ns: int) -> History:
    """The ops from the first one at or after `time_ns` on."""
    first = len(history)
    while first and history.ops[first - 1].time >= time_ns:
        first -= 1
    return History(history.ops[first:])


def is_unanswered(completion: Op) -> bool:
    """Whether the op ended without an answer: by what the harness says of it, or by an exception of the connection."""
    word = _word(completion)
    return word in UNANSWERED or word.endswith("Error")


def _word(completion: Op) -> str:
    error = completion.error
    if isinstance(error, list | tuple) and error:
        error = error[0]
    return error if isinstance(error, str) else ""


def _commonest(tried: list[tuple[Op, Op | None]]) -> str:
    """The commonest error, for the end of a message."""
    words = Counter("no completion" if end is None else _word(end) or end.type for _, end in tried)
    word, count = words.most_common(1)[0]
    return f" ({word}: {count})"
