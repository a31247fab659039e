"""The workloads that look for one anomaly each, and the models that this anomaly rules out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from checkers.isolation.bank import bank
from checkers.isolation.causal_reverse import causal_reverse
from checkers.isolation.dirty_reads import dirty_reads
from checkers.isolation.long_fork import long_fork
from checkers.isolation.monotonic import monotonic
from checkers.isolation.write_skew import write_skew
from checkers.transactions.models import MODELS, implied_models
from checkers.verdict import Verdict
from histories.history import History


class Isolation(msgspec.Struct, frozen=True):
    """check: decides a history. weakest: models that each of its anomalies rules out; whatever is stronger is ruled out as well."""

    check: Callable[[History], Verdict]
    weakest: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that INVALID rules out, sorted. VALID proves none of them: it says that this anomaly was not seen."""
        return tuple(sorted(model for model in MODELS if not implied_models((model,)).isdisjoint(self.weakest)))


WORKLOADS: Mapping[str, Isolation] = {
    "bank": Isolation(bank, ("snapshot-isolation", "repeatable-read")),
    "long-fork": Isolation(long_fork, ("snapshot-isolation", "repeatable-read")),
    "write-skew": Isolation(write_skew, ("repeatable-read",)),
    "monotonic": Isolation(monotonic, ("repeatable-read",)),
    "causal-reverse": Isolation(causal_reverse, ("strict-serializable",)),
    "dirty-reads": Isolation(dirty_reads, ("read-committed",)),
}
"""Name of the workload and of its checker -> how it is decided."""
