"""Decides the verdict on nodes that exited although nobody killed them (docs/decisions/nodes-that-end-by-themselves.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from checkers.evidence import EndedBy, EndedNode, EndedNodes
from checkers.verdict import Verdict
from harness.environments.real.labelled_processes import Ended
from harness.errors import HarnessError
from nemesis.capabilities import NodeId
from targets.node import CRASHED, HALTED, MACHINE_FAILED, REFUSED

CHECKER = "nodes"
_BY_THEIR_CORE: Mapping[int, EndedBy] = {CRASHED: "crashed", HALTED: "halted", REFUSED: "refused"}

LogEnd = Callable[[NodeId], str]
"""The last lines of a node's log."""


def epitaph(ended: Ended, log_end: LogEnd) -> str:
    """How it ended, and what it said last."""
    how = f"with status {ended.status}" if ended.status >= 0 else f"by signal {-ended.status}"
    return f"{ended.node} ended by itself {how}; its log ends:\n{log_end(ended.node)}"


def verdict(ended: Sequence[Ended], log_end: LogEnd, *, has_cores: bool, harmed: Collection[NodeId] = ()) -> Verdict:
    """INVALID when a core raised, or took its disk for damaged that nothing but crashes befell; UNKNOWN when a process exited for
    another reason; the evidence names a core that halted.

    has_cores: the nodes are ours, so that their exit statuses mean what targets.node says; those of a program mean nothing here.
    harmed: the nodes to whose data something was done that no crash may do: these do right to halt.
    Raises HarnessError when the machine that a core replicates raised: that says nothing about the cluster.
    """
    failed = [end for end in ended if end.status == MACHINE_FAILED and has_cores]
    if failed:
        raise HarnessError(f"{failed[0].node}: {last_line(failed[0].node, log_end)}")
    described = []
    for number, end in enumerate(ended):
        # A log ends with what the last process of its node said.
        is_last = all(later.node != end.node for later in ended[number + 1 :])
        words = last_line(end.node, log_end) if is_last and end.status >= 0 else ""
        described.append(_described(end, words, has_cores=has_cores))
    evidence = EndedNodes(tuple(described)) if ended else None
    crashed = [end for end in ended if end.status == CRASHED and has_cores]
    if crashed:
        reason = f"the core of {crashed[0].node} raised: {last_line(crashed[0].node, log_end)}"
        return Verdict.invalid(reason, CHECKER, evidence=evidence)
    refused = [told for told in described if told.how == "refused" and told.node not in harmed]
    if refused:
        node, words = refused[-1].node, refused[-1].words or "another process of the node said why"
        reason = f"nothing but crashes befell the disk of {node}, and it does not read it any more: {words}"
        return Verdict.invalid(reason, CHECKER, evidence=evidence)
    unexplained = [end for end in ended if end.status not in (HALTED, REFUSED) or not has_cores]
    if unexplained:
        return Verdict.unknown(epitaph(unexplained[0], log_end), CHECKER, evidence=evidence)
    return Verdict.valid(CHECKER, evidence=evidence)


def last_line(node: NodeId, log_end: LogEnd) -> str:
    """What the node said last."""
    return log_end(node).splitlines()[-1]


def _described(ended: Ended, words: str, *, has_cores: bool) -> EndedNode:
    if has_cores and ended.status in _BY_THEIR_CORE:
        return EndedNode(ended.node, _BY_THEIR_CORE[ended.status], words, status=ended.status)
    return EndedNode(ended.node, "signalled" if ended.status < 0 else "exited", words, status=ended.status)
