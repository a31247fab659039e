"""The session guarantees by their definition: every pair of a read and a write, in the transitive closure of the causes.

Quadratic and more, for tests. Undecided, as the checker is, where a read has no base or causes form a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator

from checkers.causal.brute import causal_order
from checkers.causal.reads_from import INITIAL, Trace
from checkers.sessions.check import Guarantee


def has_guarantee(trace: Trace, guarantee: Guarantee) -> bool:
    """Whether no read is older than a write that it must not be older than."""
    causes = causal_order(trace)
    for node, reads in enumerate(trace.reads):
        for key, writer in reads:
            for newer in required(trace, node, key, guarantee):
                if newer != writer and (writer == INITIAL or writer in causes[newer]):
                    return False
        if guarantee == "monotonic-reads" and _reads_again(trace, node):
            return False
    return True


def required(trace: Trace, node: int, key: int, guarantee: Guarantee) -> Iterator[int]:
    """The writes of the key that a read by the transaction must not be older than."""
    earlier = trace.sessions[trace.session[node]][: trace.seq[node] - 1]
    seen = [writer for reader in (*earlier, node) for _, writer in trace.reads[reader] if writer != INITIAL]
    match guarantee:
        case "read-your-writes":
            yield from (other for other in earlier if key in trace.writes[other])
        case "monotonic-reads":
            yield from (
                writer
                for reader in (*earlier, node)
                for its_key, writer in trace.reads[reader]
                if its_key == key and writer != INITIAL
            )
        case "monotonic-writes":
            for writer in seen:
                before = trace.sessions[trace.session[writer]][: trace.seq[writer] - 1]
                yield from (other for other in before if key in trace.writes[other])
        case "writes-follow-reads":
            for writer in seen:
                for reader in trace.sessions[trace.session[writer]][: trace.seq[writer]]:
                    yield from (w for its_key, w in trace.reads[reader] if its_key == key and w != INITIAL)


def _reads_again(trace: Trace, node: int) -> bool:
    """Whether its session had read the same value of a key before, and another one in between."""
    earlier = trace.sessions[trace.session[node]][: trace.seq[node] - 1]
    for key, writer in trace.reads[node]:
        if writer == INITIAL:
            continue
        so_far = [w for reader in earlier for its_key, w in trace.reads[reader] if its_key == key and w != INITIAL]
        if writer in so_far and any(w != writer for w in so_far[so_far.index(writer) :]):
            return True
    return False
