"""A history as sessions of transactions, and for each read the transaction that wrote what it returned.

A session is a process: what one client did, in its order. `read`, `write` and `cas` are transactions of one or two steps; `txn`
is a list of steps ["r", key, value] and ["w", key, value]. Of an operation whose outcome is unknown nobody knows what it read,
but of a cas, which has read the old value if it happened at all; what it wrote counts where somebody read it, and otherwise no
definition here can tell whether it happened.

Which write a read saw is only known where nobody wrote that value to that key twice (Bouajjani, Enea, Guerraoui and Hamza, POPL
2017, call such a history differentiated); else `Misfit` says so.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import msgspec

from checkers.relaxed.identity import Misfit, identity
from histories.history import History
from histories.op import Op

INITIAL = -1
"""The writer of what was there before the first write."""

FS = frozenset({"read", "write", "cas", "txn"})
_SHOWN = 80


class Step(msgspec.Struct, frozen=True, gc=False):
    """A read or a write of one key."""

    is_write: bool
    key: Any
    value: Any


class Baseless(msgspec.Struct, frozen=True):
    """A read that no order of the history's writes explains. words: why. node: who read."""

    node: int
    key: Any
    words: str


class Trace(msgspec.Struct, gc=False):
    """Transactions are numbered from 0 in the order in which they ended, those of unknown outcome last.

    session, seq: of each transaction; seq counts its session's from 1. reads: the keys that it read from others, and who wrote what
    it saw (INITIAL: nobody). writes: the keys that it wrote. sessions: the transactions of each, in order. keys: their names, by
    number. op_index: of one op of each transaction in the history. process: of each session. baseless: reads that nothing explains.
    clock: of each transaction, once somebody asked for it (checkers.causal.order). columns: the same as arrays
        (checkers.causal.columns). Readers share a trace: nobody changes it.
    """

    session: list[int] = msgspec.field(default_factory=list)
    seq: list[int] = msgspec.field(default_factory=list)
    reads: list[tuple[tuple[int, int], ...]] = msgspec.field(default_factory=list)
    writes: list[tuple[int, ...]] = msgspec.field(default_factory=list)
    sessions: list[list[int]] = msgspec.field(default_factory=list)
    keys: list[Any] = msgspec.field(default_factory=list)
    op_index: list[int] = msgspec.field(default_factory=list)
    process: list[Any] = msgspec.field(default_factory=list)
    steps: list[tuple[Step, ...]] = msgspec.field(default_factory=list)
    baseless: list[Baseless] = msgspec.field(default_factory=list)
    clock: list[list[int]] = msgspec.field(default_factory=list)
    columns: Any = None

    def __len__(self) -> int:
        return len(self.session)

    @property
    def reads_count(self) -> int:
        """Reads from others, of what certainly happened."""
        return sum(map(len, self.reads))

    def value(self, node: int, key: int, *, is_write: bool) -> Any:
        """What the transaction last wrote to the key, or first read of it."""
        name = identity(self.keys[key])
        found = [
            step.value for step in self.steps[node] if step.is_write is is_write and identity(step.key) == name
        ] or [None]
        return found[-1 if is_write else 0]

    def name(self, node: int) -> str:
        """The process, as messages call it."""
        return f"process {self.process[self.session[node]]}"


def trace_of(history: History, initial: Any = None, *, nil_reads: bool = False) -> Trace:
    """The history's sessions, read once for all checkers that ask.

    initial: what every key holds at first. nil_reads: a read of None says nothing. Raises Misfit for an op of another kind, a
    value of another shape, or a value that was read and that several wrote.
    """
    first = identity(initial)
    return history.remembered(("trace", first, nil_reads), lambda: _Reader(first, nil_reads).read(history))


class _Reader:
    """writer: key and value -> the transaction whose last write of the key it is. intermediate, refused: the same for writes that
    were overwritten within their transaction, and for those that ended `fail`. doubled: written by several. swaps: each
    cas, for which nil is a value like any other."""

    def __init__(self, initial: Hashable, nil_reads: bool) -> None:
        self.initial = initial
        self.nil_reads = nil_reads
        self.trace = Trace()
        self.writer: dict[tuple[int, Hashable], int] = {}
        self.intermediate: dict[tuple[int, Hashable], int] = {}
        self.refused: dict[tuple[int, Hashable], int] = {}
        self.doubled: dict[tuple[int, Hashable], int] = {}
        self.key_numbers: dict[Hashable, int] = {}
        self.session_numbers: dict[Any, int] = {}
        self.swaps: set[int] = set()

    def read(self, history: History) -> Trace:
        trace = self.trace
        pending: dict[Any, Op] = {}
        doubted: list[Op] = []
        for op in history:
            if op.process == "nemesis":
                continue
            if op.f not in FS:
                raise Misfit(f"op {op.index}: it knows no {op.f}, only {', '.join(sorted(FS))}")
            if op.type == "invoke":
                pending[op.process] = op
            elif op.type == "ok":
                invoked = pending.pop(op.process)
                self._add(op, _steps(op if op.f in ("read", "txn") else invoked))
            elif op.type == "fail":
                for step in _steps(pending.pop(op.process)):
                    if step.is_write:
                        self.refused[self._key(step.key), identity(step.value)] = op.index
            else:
                doubted.append(pending.pop(op.process))
        certain = len(trace)
        for op in (*doubted, *sorted(pending.values(), key=lambda left: left.index)):
            steps = _steps(op) if op.f == "cas" else tuple(step for step in _steps(op) if step.is_write)
            if steps:
                self._add(op, steps)
        self._find_writers(certain)
        self._drop_unread(certain)
        return trace

    def _key(self, key: Any) -> int:
        name = identity(key)
        number = self.key_numbers.get(name)
        if number is None:
            number = self.key_numbers[name] = len(self.trace.keys)
            self.trace.keys.append(key)
        return number

    def _add(self, op: Op, steps: tuple[Step, ...]) -> None:
        trace = self.trace
        node = len(trace.session)
        session = self.session_numbers.get(op.process)
        if session is None:
            session = self.session_numbers[op.process] = len(trace.sessions)
            trace.sessions.append([])
            trace.process.append(op.process)
        of_session = trace.sessions[session]
        of_session.append(node)
        if op.f == "cas":
            self.swaps.add(node)
        trace.session.append(session)
        trace.seq.append(len(of_session))
        trace.op_index.append(op.index)
        trace.steps.append(steps)
        last: dict[int, Hashable] = {}
        for step in steps:
            if step.is_write:
                key, value = self._key(step.key), identity(step.value)
                if key in last:
                    self.intermediate[key, last[key]] = node
                last[key] = value
        for place in last.items():
            if self.writer.setdefault(place, node) != node:
                self.doubled[place] = node
        trace.writes.append(tuple(last))

    def _find_writers(self, certain: int) -> None:
        """Of those in doubt, only what somebody read has read anything itself."""
        trace = self.trace
        trace.reads = [self._reads_of(node) for node in range(certain)] + [()] * (len(trace) - certain)
        if certain == len(trace):
            return
        happened = {writer for reads in trace.reads for _, writer in reads if writer >= certain}
        waiting = sorted(happened)
        while waiting:
            node = waiting.pop()
            trace.reads[node] = self._reads_of(node)
            more = {writer for _, writer in trace.reads[node] if writer >= certain} - happened
            happened |= more
            waiting += sorted(more)

    def _reads_of(self, node: int) -> tuple[tuple[int, int], ...]:
        """The keys that it read from others, with who wrote what it saw; what nothing explains is noted."""
        trace = self.trace
        found: list[tuple[int, int]] = []
        own: dict[int, Hashable] = {}
        for step in trace.steps[node]:
            key, value = self._key(step.key), identity(step.value)
            if step.is_write:
                own[key] = value
            elif step.value is None and self.nil_reads and node not in self.swaps:
                continue
            elif key in own:
                if value != own[key]:
                    words = f"{trace.name(node)} read {_shown(step)} behind its own write in the same transaction"
                    trace.baseless.append(Baseless(node, step.key, words))
            else:
                found.append((key, self._writer_of(node, key, value, step)))
        return tuple(pair for pair in found if pair[1] >= INITIAL)

    def _writer_of(self, node: int, key: int, value: Hashable, step: Step) -> int:
        """INITIAL - 1 where nothing explains the read."""
        trace, place = self.trace, (key, value)
        writer = self.writer.get(place)
        if place in self.doubled or (writer is not None and value == self.initial):
            raise Misfit(
                f"{_shown(step)} was read, and {'several wrote it' if place in self.doubled else 'it was there at first'}: "
                "which write a read saw is only known where each value is written to a key once"
            )
        if writer is not None and writer != node:
            return writer
        if value == self.initial:
            return INITIAL
        if writer == node:
            words = f"{trace.name(node)} read {_shown(step)} before it wrote it itself"
        elif place in self.intermediate:
            words = f"{trace.name(node)} read {_shown(step)}, which its writer overwrote in the same transaction"
        elif place in self.refused:
            words = f"{trace.name(node)} read {_shown(step)}, whose write had failed"
        else:
            words = f"{trace.name(node)} read {_shown(step)}, which nobody wrote"
        trace.baseless.append(Baseless(node, step.key, words))
        return INITIAL - 1

    def _drop_unread(self, certain: int) -> None:
        """Whatever ended in doubt and was read by nobody is gone: it was the last of its session, and so nothing hangs on it."""
        trace = self.trace
        if certain == len(trace):
            return
        read = {writer for reads in trace.reads for _, writer in reads}
        kept = [*range(certain), *(node for node in range(certain, len(trace)) if node in read)]
        number = {node: place for place, node in enumerate(kept)}
        number[INITIAL] = INITIAL
        for name in ("session", "seq", "writes", "op_index", "steps"):
            column = getattr(trace, name)
            setattr(trace, name, [column[node] for node in kept])
        trace.reads = [tuple((key, number[writer]) for key, writer in trace.reads[node]) for node in kept]
        trace.baseless = [Baseless(number[each.node], each.key, each.words) for each in trace.baseless]
        trace.sessions = [[number[node] for node in of_session if node in number] for of_session in trace.sessions]
        for of_session in trace.sessions:
            for seq, node in enumerate(of_session, 1):
                trace.seq[node] = seq


def _shown(step: Step) -> str:
    text = f"{step.value!r} of key {step.key!r}" if step.key is not None else f"{step.value!r}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _steps(op: Op) -> tuple[Step, ...]:
    """Raises Misfit."""
    match op.f:
        case "read":
            return (Step(False, op.key, op.value),)
        case "write":
            return (Step(True, op.key, op.value),)
        case "cas":
            if not isinstance(op.value, list | tuple) or len(op.value) != 2:
                raise Misfit(f"op {op.index}: cas takes [old, new], not {op.value!r:.100}")
            return (Step(False, op.key, op.value[0]), Step(True, op.key, op.value[1]))
        case _ if op.key is None:
            return tuple(_micro_ops(op))
        case _:  # Each key of the history is an object of its own, with keys of its own.
            return tuple(Step(step.is_write, [op.key, step.key], step.value) for step in _micro_ops(op))


def _micro_ops(op: Op) -> Iterator[Step]:
    if not isinstance(op.value, list | tuple):
        raise Misfit(f"op {op.index}: txn takes a list of [f, key, value], not {op.value!r:.100}")
    for step in op.value:
        match step:
            case ["r" | "read", key, value]:
                yield Step(False, key, value)
            case ["w" | "write", key, value]:
                yield Step(True, key, value)
            case _:
                raise Misfit(f'op {op.index}: {step!r:.100} is neither ["r", key, value] nor ["w", key, value]')
