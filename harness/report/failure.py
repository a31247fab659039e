"""One failure as one value: what was promised, what happened instead, and what was going on meanwhile.

`failures` makes it from a result, its history and its spec, for every kind of evidence. Code that shows a failure
(`themis inspect`, a page) renders this and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from checkers import Validity, Verdict
from checkers.availability import sides
from checkers.evidence import (
    CheckerCrash,
    EndedNodes,
    Finding,
    Findings,
    Invariants,
    Linearizability,
    Liveness,
    Recovery,
    Refutation,
    Table,
    Undecided,
    Vacuity,
    Witness,
)
from checkers.invariants.registry import statement
from checkers.windows import Window, fault_windows
from harness.spec import RunSpec
from harness.store.runs import Result
from histories.history import History
from histories.op import Op, OpType, Process
from histories.printing import value
from histories.units import NS_PER_S

Role = Literal["failed", "core", "possible", "would fit", "shown"]

OPS_MAX = 60
FAULTS_MAX = 24
BEFORE_NS = 5 * NS_PER_S
"""Of what no operation shows, such as a broken rule, faults are told that were in force up to so long before it."""


class FailureOp(msgspec.Struct, frozen=True):
    """An operation that bears on the failure.

    roles: "failed": it does not fit; "core": one of the few that cannot be explained even alone; "possible": it brought
    about a state that was still possible; "would fit": after it the failed one would have fitted; "shown": a checker
    points at it, with `note`. invoke, complete: the `index` of its ops. is_optional: the failure
    stands whether it took effect or not.
    """

    roles: tuple[Role, ...]
    invoke: int
    complete: int | None
    process: Process
    node: str | None
    f: str
    key: Any
    argument: Any
    result: Any
    type: OpType | None
    error: Any
    invoked_ns: int
    completed_ns: int | None
    is_optional: bool = False
    note: str = ""

    @classmethod
    def of(
        cls, begun: Op, ended: Op | None, roles: tuple[Role, ...] = (), *, is_optional: bool = False, note: str = ""
    ) -> FailureOp:
        """The op whose invocation and completion these are; None: the op never completed."""
        return cls(
            roles,
            begun.index,
            None if ended is None else ended.index,
            begun.process,
            ended.node if ended is not None and ended.node is not None else begun.node,
            begun.f,
            begun.key,
            begun.value,
            None if ended is None else ended.value,
            None if ended is None else ended.type,
            None if ended is None else ended.error,
            begun.time,
            None if ended is None else ended.time,
            is_optional,
            note,
        )


class FailureState(msgspec.Struct, frozen=True):
    """A state that was still possible, and why it does not allow the failed operation. after: the `invoke` of the
    operation that brought it about."""

    in_words: str
    why_excluded: str
    after: int | None = None


class FailureEdge(msgspec.Struct, frozen=True):
    """One operation comes before another. before, after: their `invoke`. why: in words."""

    before: int
    after: int
    why: str


class FailureFault(msgspec.Struct, frozen=True):
    """A fault that was in force at the time of the failure, or between the operations that show it.

    began_ns, lifted_ns: from when to when it may have been in force; lifted_ns is None when nobody saw it end. is_in_force: at the
    time of the failure. sides: the groups of nodes that still reached each other in a partition.
    """

    title: str
    nodes: tuple[str, ...]
    began_ns: int
    lifted_ns: int | None
    status: Literal["installed", "indeterminate"]
    is_in_force: bool
    sides: tuple[tuple[str, ...], ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """One thing that is wrong, or that could not be decided.

    promise: what should have been true, and who says so. checker: whose verdict it is. words: one sentence. time_ns: when it
    showed, since the run began. ops: in order of time. cycle: `invoke` of operations that each come before the next one, the last
    before the first. nodes: those concerned. faults: in order of time; faults_left_out: how many more there were. notes: whatever
    else is known, in sentences. detail: a traceback. details: what a broken rule of a protocol saw, by name.
    """

    validity: Validity
    checker: str
    promise: str
    words: str
    key: Any = None
    time_ns: int | None = None
    ops: tuple[FailureOp, ...] = ()
    states: tuple[FailureState, ...] = ()
    edges: tuple[FailureEdge, ...] = ()
    cycle: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    faults: tuple[FailureFault, ...] = ()
    faults_left_out: int = 0
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    detail: str = ""
    details: dict[str, Any] = {}


def failures(result: Result, history: History, spec: RunSpec) -> list[Failure]:
    """Every failure of the run, the violations first."""
    by = f"{spec.target} claims it" if result.claim == result.target_claims else "--consistency asks for it"
    claim = f"{result.claim or 'what the checker asks for'} ({by})" if result.claim else ""
    return failures_of(result.verdict, history, claim, spec.nodes)


def failures_of(verdict: Verdict, history: History, claim: str, nodes: Sequence[str]) -> list[Failure]:
    """Every failure that the verdict tells of this history, the violations first.

    claim: what was promised, and who says so; "" when nobody does. nodes: all that there were.
    """
    look = _Look(history, claim, nodes)
    leaves = sorted(verdict.leaves(), key=lambda leaf: -leaf[1].validity.badness)
    return [
        look.with_faults(failure)
        for name, verdict in leaves
        if verdict.validity is not Validity.VALID
        for failure in look.failures_of(name, verdict)
    ]


class _Look:
    """Looks things up in one run."""

    def __init__(self, history: History, claim: str, nodes: Sequence[str]) -> None:
        self._history = history
        self._windows = fault_windows(history)
        self._claim = claim
        self._positions: dict[int, int] | None = None
        self._nodes = nodes

    def failures_of(self, name: str, verdict: Verdict) -> Iterator[Failure]:
        """The failures in the verdict's evidence, whatever its kind."""
        plain = Failure(verdict.validity, name, self._claim, verdict.reason or verdict.validity.value)
        match verdict.evidence:
            case Linearizability(refuted=refuted, undecided=undecided) if refuted or undecided:
                yield from (self._refuted(plain, each) for each in refuted)
                yield from (_undecided(plain, each) for each in undecided if not refuted)
            case Invariants(violation=violation) if violation is not None:
                notes = tuple(f"{word}: {value(seen, 200)}" for word, seen in violation.details.items())
                says = statement(violation.rule)
                promise = f"{violation.rule}: {says}" if says else f"{violation.rule} (an invariant of the protocol)"
                yield replace(
                    plain,
                    promise=promise,
                    words=violation.words,
                    time_ns=violation.time,
                    nodes=violation.nodes,
                    notes=notes,
                    details=violation.details,
                )
            case EndedNodes(ended=ended):
                first = ended[0] if ended else None
                yield replace(
                    plain,
                    promise="no node ends by itself",
                    time_ns=first.time_ns if first else None,
                    nodes=tuple(dict.fromkeys(each.node for each in ended)),
                    detail=first.words if first else "",
                )
            case Liveness():
                yield self._not_live(plain, verdict.evidence)
            case Recovery(reasons=reasons, silent_by_node=silent):
                promise = "once the faults are lifted, the system serves again"
                rows = tuple((node, count) for node, count in silent.items())
                tables = (Table(("node", "of the last ops without an answer"), rows),) if rows else ()
                yield replace(plain, promise=promise, words="; ".join(reasons), tables=tables, nodes=tuple(silent))
            case Vacuity(reasons=reasons):
                yield replace(plain, promise="the run tests something", words="; ".join(reasons))
            case CheckerCrash(traceback=traceback):
                yield replace(plain, detail=traceback)
            case Findings(findings=findings) if findings:
                yield from (self._found(plain, each) for each in findings)
            case _:
                yield plain

    def with_faults(self, failure: Failure) -> Failure:
        """The failure with the faults that were in force at its time, or while its operations went on."""
        at_ns = failure.time_ns
        times = [op.invoked_ns for op in failure.ops]
        times += [op.completed_ns for op in failure.ops if op.completed_ns is not None]
        times += [] if at_ns is None else [at_ns]
        if not times:
            return failure
        begin_ns, end_ns = min(times) - (0 if failure.ops else BEFORE_NS), max(times)
        failed_ns = end_ns if at_ns is None else at_ns
        met = [
            self._fault(window, failed_ns)
            for window in self._windows
            if window.began_ns <= end_ns and (window.lifted_ns is None or window.lifted_ns >= begin_ns)
        ]
        # Those in force, then the latest: what is far before the failure is left out first.
        kept = sorted(met, key=lambda fault: (not fault.is_in_force, -fault.began_ns))[:FAULTS_MAX]
        return replace(
            failure,
            faults=tuple(sorted(kept, key=lambda fault: fault.began_ns)),
            faults_left_out=len(met) - len(kept),
        )

    def _fault(self, window: Window, failed_ns: int) -> FailureFault:
        return FailureFault(
            window.title,
            window.nodes,
            window.began_ns,
            window.lifted_ns,
            window.status,
            window.began_ns <= failed_ns and (window.lifted_ns is None or failed_ns <= window.lifted_ns),
            tuple(tuple(side) for side in sides(window.did, self._nodes)),
        )

    def _refuted(self, plain: Failure, refutation: Refutation) -> Failure:
        core = refutation.minimal.operations if refutation.minimal else ()
        failed = _contradicting(refutation)
        roles: list[tuple[int, Role]] = [(failed.invoke, "failed")]
        roles += [(operation.invoke, "core") for operation in core]
        roles += [(state.after.invoke, "possible") for state in refutation.possible[:OPS_MAX] if state.after]
        roles += [(refutation.fits_after.invoke, "would fit")] if refutation.fits_after else []
        ops = self._ops(roles, optional={operation.invoke for operation in core if operation.is_optional})
        up_to = refutation.linearizable_up_to  # 0 also where a monitor decided, which does not count.
        notes = [f"{up_to} operations before it can be explained together"] if up_to else []
        if refutation.minimal:
            confirmed = f"confirmed by {refutation.minimal.confirmed_by}"
            notes.append(f"the {len(core)} operations of the core alone cannot be explained, {confirmed}")
            if refutation.minimal.limit:
                notes.append(f"fewer of them may be enough: {refutation.minimal.limit}")
        elif refutation.unfinished:
            notes.append(f"no core is shown: {refutation.unfinished}")
        if not refutation.possible_is_complete:
            notes.append("the states listed may not be all that were possible")
        return replace(
            plain,
            words=refutation.reason,
            key=refutation.key,
            time_ns=failed.completed_ns,
            ops=ops,
            states=tuple(
                FailureState(state.in_words, state.because, state.after.invoke if state.after else None)
                for state in refutation.possible
            ),
            edges=_real_time_edges([op for op in ops if {"core", "failed"} & set(op.roles)]),
            nodes=_nodes_of(ops),
            notes=tuple(notes),
            detail=refutation.error,
        )

    def _found(self, plain: Failure, finding: Finding) -> Failure:
        indices = [note.index for note in finding.ops]
        indices += [index for edge in finding.edges for index in (edge.before, edge.after)]
        notes = {self._invoke(note.index): note.note for note in reversed(finding.ops) if note.note}
        ops = self._ops([(index, "shown") for index in indices], notes=notes)
        edges = tuple(
            FailureEdge(before, after, edge.why)
            for edge in finding.edges
            if (before := self._invoke(edge.before)) is not None and (after := self._invoke(edge.after)) is not None
        )
        times = [time for op in ops for time in (op.invoked_ns, op.completed_ns) if time is not None]
        return replace(
            plain,
            words=finding.words,
            key=finding.key,
            time_ns=max(times, default=None),
            ops=ops,
            edges=edges,
            cycle=_cycle(edges),
            nodes=tuple(dict.fromkeys((*finding.nodes, *_nodes_of(ops)))),
            tables=finding.tables,
        )

    def _not_live(self, plain: Failure, evidence: Liveness) -> Failure:
        rows = tuple((state.node, state.process, state.ended or "", state.status) for state in evidence.states)
        last = evidence.last_answer
        return replace(
            plain,
            promise="healed, the cluster serves and agrees again",
            time_ns=evidence.healed_ns,
            nodes=tuple(state.node for state in evidence.states),
            tables=(Table(("node", "process", "ended by itself", "status"), rows),) if rows else (),
            notes=(f"the last call ended {last.type} at {last.node}: {last.error}",) if last else (),
        )

    def _invoke(self, index: int) -> int | None:
        """The `index` of the invocation of the operation that an op belongs to; None when there is none."""
        position = self._position(index)
        if position is None:
            return None
        process = self._history[position].process
        while self._history[position].type != "invoke" or self._history[position].process != process:
            if position == 0:
                return index
            position -= 1
        return self._history[position].index

    def _position(self, index: int) -> int | None:
        """The position of the op with that `index`, mostly the same number; None when there is none."""
        if 0 <= index < len(self._history) and self._history[index].index == index:
            return index
        if self._positions is None:
            self._positions = {op.index: position for position, op in enumerate(self._history)}
        return self._positions.get(index)

    def _ops(
        self,
        roles: Iterable[tuple[int, Role]],
        *,
        optional: frozenset[int] | set[int] = frozenset(),
        notes: dict[int | None, str] | None = None,
    ) -> tuple[FailureOp, ...]:
        """The operations of these indices, each once with all its roles, in order of time."""
        by_invoke: dict[int, list[Role]] = {}
        for index, role in roles:
            invoke = self._invoke(index)
            if invoke is not None and role not in by_invoke.setdefault(invoke, []):
                by_invoke[invoke].append(role)
        ops = [
            self._op(invoke, tuple(its_roles), invoke in optional, (notes or {}).get(invoke, ""))
            for invoke, its_roles in by_invoke.items()
        ]
        return tuple(sorted(ops[:OPS_MAX], key=lambda op: (op.invoked_ns, op.invoke)))

    def _op(self, invoke: int, roles: tuple[Role, ...], is_optional: bool, note: str) -> FailureOp:
        position = self._position(invoke)
        assert position is not None, "_ops found it"
        begun = self._history[position]
        end = self._history.completions.get(position)
        ended = None if end is None else self._history[end]
        return FailureOp.of(begun, ended, roles, is_optional=is_optional, note=note)


def duration(span_ns: int) -> str:
    """`1.536 ms`, `19.108 s`."""
    return f"{span_ns / 1e9:.3f} s" if span_ns >= NS_PER_S else f"{span_ns / 1e6:.3f} ms"


def _undecided(plain: Failure, undecided: Undecided) -> Failure:
    note = f"{undecided.linearizable_up_to} operations can be explained together"
    return replace(plain, words=undecided.reason, key=undecided.key, notes=(note,), detail=undecided.traceback)


def _nodes_of(ops: Iterable[FailureOp]) -> tuple[str, ...]:
    return tuple(sorted({op.node for op in ops if op.node is not None}))


def _contradicting(refutation: Refutation) -> Witness:
    """The operation that a reader should look at: that which does not fit. The search may end at a write that was under way for
    long; but a write fits any state, and what contradicts is the last answer of the core."""
    answers = [op for op in refutation.minimal.operations if op.f != "write"] if refutation.minimal else []
    if refutation.failed.f != "write" or not answers:
        return refutation.failed
    return max(answers, key=lambda op: op.invoke)


def _real_time_edges(ops: Sequence[FailureOp]) -> tuple[FailureEdge, ...]:
    """Which operation was over before which began: the order that no explanation may change, without the edges that follow from
    others."""
    import networkx  # Here: it takes 0.13 s, and only a failure needs it.

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(ops)))
    for first, before in enumerate(ops):
        for second, after in enumerate(ops):
            is_over = before.type == "ok" and before.complete is not None
            if is_over and before.complete is not None and before.complete < after.invoke:
                graph.add_edge(first, second)
    edges = []
    for first, second in sorted(networkx.transitive_reduction(graph).edges):
        before, after = ops[first], ops[second]
        assert before.completed_ns is not None
        why = f"it was answered {duration(after.invoked_ns - before.completed_ns)} before"
        edges.append(FailureEdge(before.invoke, after.invoke, why))
    return tuple(edges)


def _cycle(edges: Iterable[FailureEdge]) -> tuple[int, ...]:
    """A shortest circle of the edges; nothing when there is none."""
    import networkx  # Here: it takes 0.13 s, and only a failure needs it.

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_edges_from((edge.before, edge.after) for edge in edges)
    circles: list[tuple[int, ...]] = [
        tuple(networkx.shortest_path(graph, after, before))
        for before, after in sorted(graph.edges)
        if networkx.has_path(graph, after, before)
    ]
    return min(circles, key=len, default=())
