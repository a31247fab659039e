"""Linearizability of a history, for any sequential model: verdict, witness or counterexample, within a budget.

`linearizable` is the checker. `search` is one object's search, with the raw result. How it works: problem.py (what a
configuration is, and the four rules that keep them few), depth.py, forward.py, search.py (who takes turns).
"""

from checkers.linearizability.check import KeyResult, UnfitHistory, linearizable, search_keys
from checkers.linearizability.encode import Entries, Entry, entries, entries_by_key
from checkers.linearizability.result import Configuration, SearchResult
from checkers.linearizability.search import Cancellation, search

__all__ = [
    "Cancellation",
    "Configuration",
    "Entries",
    "Entry",
    "KeyResult",
    "SearchResult",
    "UnfitHistory",
    "entries",
    "entries_by_key",
    "linearizable",
    "search",
    "search_keys",
]
