"""Which consistency models of transactions a history rules out, by the cycles of dependencies in it.

`transactions` is the checker. How it works: reading.py (a history as transactions), append.py and register.py (which dependencies
the values show), graph.py (edges, also of process and real time, linear in the history), cycles.py (the smallest cycle of each
class), models.py (what a class rules out), explain.py (in words), verify.py (a second look at each edge, by other means).
"""

from checkers.transactions.check import Wanted
from checkers.transactions.reading import UnfitTransactions, Workload
from checkers.transactions.register import Inference
from checkers.transactions.verdict import transactions

__all__ = ["Inference", "UnfitTransactions", "Wanted", "Workload", "transactions"]
