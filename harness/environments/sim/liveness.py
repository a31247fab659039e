"""The second phase of a run. First only as many nodes as are enough are healed, and have to serve by themselves. Then everything is
healed, and the cluster has to serve again and converge within a bounded virtual time. Then nobody asks it for anything, and its
leader has to stay: elections without a cause cost a cluster its service.

A node whose disk was damaged beyond what a crash does cannot be asked to come back; when such nodes leave no majority, nothing
is asked of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from checkers.evidence import LastAnswer, Liveness, NodeState
from checkers.verdict import Verdict
from harness.environments.sim.clients import Clients
from harness.environments.sim.node import Node
from harness.environments.sim.world import World
from histories.op import Op
from histories.units import NS_PER_MS, NS_PER_S
from targets.session import Outcome

CHECKER = "liveness"
LOOK_EVERY_NS = 20 * NS_PER_MS
STAYS_NS = 1_500 * NS_PER_MS
"""So long without a change of the leader, some time-outs of an election, is enough: it may change for a reason once or twice."""


class Probe:
    """One call after another, to each node in turn, until the cluster serves one of each invocation: it is done, or refused by the
    state."""

    def __init__(self, clients: Clients, invocations: Sequence[Op], homes: Collection[int] | None = None) -> None:
        """homes: numbers of the nodes that are asked first; None: all."""
        self.clients = clients
        self._homes = homes
        # Not the ops of these indexes: the history has those already.
        self._left = [msgspec.structs.replace(invocation, index=-1) for invocation in invocations]
        self.tries = 0
        self.last_answer: LastAnswer | None = None
        self._is_asking = False
        self._has_served = False

    @property
    def unserved(self) -> str:
        """What the cluster did not serve: the kinds of ops that are left, or "operation" where it served none at all."""
        return " and no ".join(dict.fromkeys(op.f for op in self._left)) if self._has_served else "operation"

    @property
    def is_served(self) -> bool:
        """Nothing is left to ask."""
        return not self._left

    def ask(self) -> None:
        """Ask once more, unless a call is under way or all were answered."""
        if self._left and not self._is_asking:
            self._is_asking = True
            self.clients.start(self._left[0], self._process(), self._answered)
            self.tries += 1

    def _process(self) -> int:
        process = self.clients.new_process()
        while self._homes is not None and process % self.clients.nodes_count not in self._homes:
            process += 1
        return process

    def _answered(self, _op: Op, outcome: Outcome, node: str) -> None:
        self._is_asking = False
        if outcome.type == "ok" or outcome.is_refused:
            del self._left[0]
            self._has_served = True
        self.last_answer = LastAnswer(outcome.type, node, outcome.error)


def check_some(world: World, nodes: Sequence[Node], away: Collection[str], probe: Probe, bound_s: float) -> Verdict:
    """Run until the nodes that are not `away` have served, at most `bound_s`. INVALID with each node's state if they have not."""
    began_ns = world.now_ns
    ends_ns = began_ns + int(bound_s * NS_PER_S)
    while world.now_ns < ends_ns:
        probe.ask()
        world.advance(min(ends_ns, world.now_ns + LOOK_EVERY_NS), lambda: probe.is_served)
        if probe.is_served:
            return Verdict.valid(CHECKER, stats={"some_served_after_ns": world.now_ns - began_ns})
    states = _states(nodes)
    there = ", ".join(node.name for node in nodes if node.name not in away)
    return Verdict.invalid(
        f"the nodes of a cluster that were healed ({there}; {', '.join(sorted(away))} were not) served no {probe.unserved} "
        f"({probe.tries} tried) within {bound_s:g} s; {_in_words(states)}",
        CHECKER,
        evidence=Liveness(began_ns, states, probe.last_answer, away=tuple(sorted(away))),
        stats={"tries": probe.tries},
    )


def check(
    world: World,
    nodes: Sequence[Node],
    heal: Callable[[], None],
    probe: Probe,
    bound_s: float,
    converged: Callable[[Mapping[str, Mapping[str, Any]]], bool],
    leader: Callable[[Mapping[str, Mapping[str, Any]]], Any] = lambda _statuses: None,
) -> Verdict:
    """Heal, then run until the cluster serves and agrees, at most `bound_s`, and on until its leader has stayed for a while, at
    most as long again. INVALID with each node's state if it does not.

    converged: the target's word on the statuses of its nodes; it is asked when all of them answer. leader: who leads by them, and
    since which election; always alike where nobody does.
    """
    began_ns = world.now_ns
    heal()
    wanted = [node for node in nodes if not node.disk.is_damaged]
    if len(wanted) <= len(nodes) // 2:
        damaged = tuple(node.name for node in nodes if node.disk.is_damaged)
        evidence = Liveness(began_ns, not_asked="disks were damaged beyond a crash", damaged=damaged)
        return Verdict.valid(CHECKER, evidence=evidence)
    ends_ns = began_ns + int(bound_s * NS_PER_S)
    served_ns: int | None = None
    converged_ns: int | None = None
    leads, since_ns = None, began_ns
    while world.now_ns < ends_ns:
        probe.ask()
        world.advance(min(ends_ns, world.now_ns + LOOK_EVERY_NS), lambda: False)
        if probe.is_served and served_ns is None:
            served_ns = world.now_ns
        statuses = {node.name: status for node in wanted if (status := node.status()) is not None}
        if converged_ns is None and probe.is_served and len(statuses) == len(wanted) and converged(statuses):
            converged_ns = since_ns = world.now_ns
            leads = leader(statuses)
            ends_ns = converged_ns + int(bound_s * NS_PER_S)
        if converged_ns is not None:
            if (now_leads := leader(statuses)) != leads:
                leads, since_ns = now_leads, world.now_ns
            if world.now_ns - since_ns >= min(STAYS_NS, ends_ns - converged_ns):
                stats = {"served_after_ns": (served_ns or converged_ns) - began_ns, "tries": probe.tries}
                return Verdict.valid(CHECKER, stats=stats | {"converged_after_ns": converged_ns - began_ns})
    states = _states(nodes)
    what = f"served no {probe.unserved} ({probe.tries} tried)"
    if converged_ns is not None:
        what = "elected one leader after another, though nobody asked it for anything,"
    elif probe.is_served:
        what = "did not converge"
    return Verdict.invalid(
        f"healed, the cluster {what} within {bound_s:g} s; {_in_words(states)}",
        CHECKER,
        evidence=Liveness(began_ns, states, probe.last_answer),
        stats={"tries": probe.tries},
    )


def _states(nodes: Sequence[Node]) -> tuple[NodeState, ...]:
    return tuple(
        NodeState(
            node.name, node.state, None if (status := node.status()) is None else dict(status), node.ended_unasked
        )
        for node in nodes
    )


def _in_words(states: Sequence[NodeState]) -> str:
    parts = []
    for state in states:
        status = state.status
        if status is None:
            parts.append(f"{state.node}: {state.ended or state.process}")
        else:
            said = ", ".join(f"{word} {status[word]}" for word in ("term", "leader", "commit_index") if word in status)
            parts.append(f"{state.node}: {status.get('role', state.process)}, {said}")
    return "; ".join(parts)
