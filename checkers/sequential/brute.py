"""Sequential consistency by its definition: try every order that keeps the sessions' own. For up to about seven transactions."""

from __future__ import annotations

from checkers.causal.brute import explains, orders
from checkers.causal.reads_from import Trace


def is_sequential(trace: Trace) -> bool:
    """Whether some order of all transactions explains every read."""
    sessions = [frozenset(trace.sessions[trace.session[node]][: trace.seq[node] - 1]) for node in range(len(trace))]
    nodes = range(len(trace))
    return not trace.baseless and any(explains(trace, order, nodes) for order in orders(nodes, sessions))
