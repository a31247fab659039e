"""The classes of what is wrong with a run: coarse enough that two runs which show one bug have one class in common.

Shrinking keeps a smaller run only if a class of the first one remains; grouping of findings goes by it too.
"""

from __future__ import annotations

from collections.abc import Iterator

from checkers import Validity, Verdict
from checkers.evidence import Invariants, Linearizability
from harness.store.runs import Result


def anomaly_classes(result: Result) -> tuple[str, ...]:
    """The classes of every violation in the result, without repetition, in the order of its checkers; empty when there is none.

    A class is a checker's name and what of its evidence does not depend on the run: the rule that was broken; for
    linearizability the model, and whether the failed operation would have fitted earlier (it saw an old state, which may be the
    initial one) or at no time.
    """
    violated = (leaf for leaf in result.verdict.leaves() if leaf[1].validity is Validity.INVALID)
    return tuple(dict.fromkeys(class_ for name, verdict in violated for class_ in _classes(name, verdict)))


def bug_class(anomaly_class: str) -> str:
    """What classes that one bug may show have in common: a stale read of a register and one of a queue are both a violation of
    linearizability; two invariants are two."""
    checker = anomaly_class.partition("/")[0]
    return checker if checker == "linearizable" else anomaly_class


def _classes(name: str, verdict: Verdict) -> Iterator[str]:
    match verdict.evidence:
        case Invariants(violation=violation) if violation is not None:
            yield f"{name}/{violation.rule}"
        case Linearizability(model=model, refuted=refuted) if refuted:
            for refutation in refuted:
                saw_old = refutation.fits_after is not None or refutation.fits_initially
                yield f"{name}/{model}/{'old state' if saw_old else 'no such state'}"
        case _:
            yield name
