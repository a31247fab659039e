"""Decides serializability and snapshot isolation of registers whose version order nobody knows: exactly, by search.

`exact` is the checker. How it works: problem.py (what is certain, and which pairs of writers are open), prune.py (what the certain
edges decide), search.py (a SAT solver for the rest), core.py (a minimal set of transactions that cannot be ordered), certificate.py
(a second look at both answers, by code that shares nothing with the search).
"""

from checkers.transactions.exact.check import EXACT_MODELS, exact

__all__ = ["EXACT_MODELS", "exact"]
