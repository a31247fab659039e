"""Convergence: when updates and faults are over, all nodes answer the same (Shapiro et al. 2011, §2.1: eventual delivery,
convergence)."""

from __future__ import annotations

from typing import Any

from checkers.eventual.settled import FinalReads, Settled, settled, unordered
from checkers.evidence import Finding, Findings, OpNote, Table
from checkers.relaxed.identity import SHOWN, identity, listed
from checkers.verdict import Verdict
from histories.history import History

CHECKER = "convergence"
SHOWN_CHARS = 200


def convergence(history: History, context: object = None, *, is_set: bool = False) -> Verdict:
    """The last read of each key on each node, after the heal and the last update of any key, returned the same everywhere.

    is_set: reads return elements in any order. How long after the heal that has to hold is the run's quiet period: reads begin
    after it. UNKNOWN where a key with updates was not read in the end, or by fewer clients than there are nodes. stats: keys,
    nodes, nodes_missing (pairs of a key and a node that was not read), converged_ns (when all keys agreed, since the last fault
    ended).
    """
    end = settled(history, unordered if is_set else identity)
    divergent = [final for final in end.finals.values() if final.agreed_ns is None]
    agreed = [final.agreed_ns for final in end.finals.values() if final.agreed_ns is not None]
    stats: dict[str, Any] = {
        "keys": len(end.finals),
        "nodes": len(end.nodes),
        "nodes_missing": sum(len(set(end.nodes) - set(final.last)) for final in end.finals.values()),
        "divergent": len(divergent),
        "converged_ns": max(agreed) - end.quiet_ns if agreed and not divergent else None,
    }
    if divergent:
        findings = tuple(_finding(final) for final in divergent[:SHOWN])
        reason = f"nodes still disagree on key {listed([final.key for final in divergent])}: {findings[0].words}"
        return Verdict.invalid(reason, CHECKER, evidence=Findings(findings), stats=stats)
    if reason := unfinished(end):
        return Verdict.unknown(reason, CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def unfinished(end: Settled) -> str:
    """Why the final reads are too few to say anything of all keys and nodes; empty where they are not."""
    if end.standing:
        return f"{end.standing[0]} was not seen to end, so no read says what nodes agree on without it"
    if not end.finals and not end.unread:
        return "nothing was checked: no operation succeeded"
    if end.unread:
        return (
            f"there is no final read of key {listed(list(end.unread))}: none ended ok behind the last update and fault"
        )
    if torn := [final.key for final in end.finals.values() if final.is_torn]:
        return f"final reads of key {listed(torn)} differ, and do not say which node answered"
    # A store that sends all clients to one node is read there alone, by clients that asked every node.
    if end.readers_count < max(2, len(end.nodes)):
        readers = "1 client" if end.readers_count == 1 else f"{end.readers_count} clients"
        return f"only {readers} read in the end; on {max(1, len(end.nodes))} nodes at least {max(2, len(end.nodes))} should"
    return ""


def _finding(final: FinalReads) -> Finding:
    rows = tuple((node, _short(done.value)) for node, done in sorted(final.last.items()))
    shown = "; ".join(f"{node} {value}" for node, value in rows)
    return Finding(
        f"final reads of key {final.key!r} differ: {shown}",
        key=final.key,
        ops=tuple(OpNote(done.index, f"on {node}") for node, done in sorted(final.last.items())),
        nodes=tuple(sorted(final.last)),
        tables=(Table(("node", "answer"), rows, f"key {final.key!r}"),),
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
