"""`themis check --workload` for the workloads that look for one anomaly each: a bank and its like, recorded in Jepsen's formats."""

from __future__ import annotations

from functools import partial

import msgspec

from checkers import Verdict, guarded, isolation
from checkers.transactions import UnfitTransactions
from checkers.transactions.models import MODELS, OTHER_NAMES, canonical
from harness.cli.courses import judge_courses
from harness.errors import UsageError, unknown_name
from histories.history import History
from histories.loaded import Loaded

BANK = "bank"


class Question(msgspec.Struct, frozen=True):
    """What is asked of a history of one such workload. total_amount, negative_balances: of a bank."""

    workload: str
    total_amount: int | None = None
    negative_balances: bool = False

    def judge(self, loaded: Loaded) -> Verdict:
        """The verdict on the history. Raises UnfitTransactions for one that is no history of this workload."""
        if not any(op.is_client for op in loaded.history):
            return Verdict.unknown("nothing was checked: there is no operation of a client", self.workload)
        job = partial(judge_courses, self.workload, self._check, loaded.history)
        return guarded(self.workload, job, lets_pass=(UnfitTransactions,))

    def _check(self, history: History) -> Verdict:
        if self.workload == BANK:
            return isolation.bank(history, total=self.total_amount, may_be_negative=self.negative_balances)
        return isolation.WORKLOADS[self.workload].check(history)


def question(workload: str, models: str | None, total_amount: int | None, *, negative_balances: bool) -> Question:
    """What the options ask. Raises UsageError for a model that this workload's anomaly cannot rule out."""
    if workload != BANK and (total_amount is not None or negative_balances):
        raise UsageError(f"--total-amount and --negative-balances are of --workload bank, not of {workload}")
    decided = isolation.WORKLOADS[workload].models
    for name in (models or "").split(","):
        if not name.strip():
            continue
        try:
            model = canonical(name.strip())
        except LookupError:
            raise unknown_name("consistency model", name.strip(), {*MODELS, *OTHER_NAMES}) from None
        if model not in decided:
            raise UsageError(f"{workload} shows nothing about {model}; it can rule out {', '.join(decided)}")
    return Question(workload, total_amount, negative_balances)
