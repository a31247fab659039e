"""Defines a generator: an immutable value that is asked for the next op, and is told what happened.

The semantics are those of Jepsen's pure generators (jepsen.generator):

- `op(context)` answers None (exhausted: it will never again have an op), `(PENDING, next)` (nothing for now: ask
  again after something completes) or `(invocation, next)`. An invocation may lie in the future; the interpreter then
  waits, and when something completes before, it throws the answer away and asks the *old* generator again. That is
  why purity matters.
- `update(context, event)` returns the generator that knows of `event`, an invocation or a completion.

Whatever reads like a generator is lifted to one by `lift`: an Invocation is emitted once, a function is called again
and again until it returns None, a list is a sequence.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, Union

import msgspec

from harness.generators.randomness import mixed
from histories.op import NEMESIS, Op, Process

Thread: TypeAlias = int | Literal["nemesis"]
"""A worker of the run: 0..concurrency-1, each playing one process after the other, or the nemesis."""


class GeneratorError(Exception):
    """A generator broke the rules, or cannot be built as asked. The run stops: this is a mistake in the test, not in
    the system."""


class Pending(enum.Enum):
    """The type of PENDING."""

    PENDING = "pending"

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending.PENDING
"""Nothing to do for now; ask again after a completion."""


class Invocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An op that a generator asks for.

    time: not before this, in ns since the run began; None: now. process: who; None: any free one of the context.
    type: "sleep" keeps the thread busy for `value` ns and "log" hands `value` to the log; neither is part of the
    history.
    """

    f: str
    key: Any = None
    value: Any = None
    time: int | None = None
    process: Process | None = None
    type: Literal["invoke", "sleep", "log"] = "invoke"


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a generator may know when it is asked. Threads are bits, so that restricting a context to some of them is
    one `and`.

    now_ns: since the run began. free, threads: bit i is client thread i, bit `concurrency` is the nemesis; `free` is
    a subset of `threads`, the ones that this context is about. processes: the process that each client thread plays
    now. word: 64 random bits, fresh for each op taken (see randomness). is_stopped: the main phase must end.
    """

    now_ns: int
    free: int
    threads: int
    processes: tuple[int, ...]
    nodes: tuple[str, ...] = ()
    word: int = 0
    is_stopped: bool = False

    @property
    def concurrency(self) -> int:
        """The number of client threads."""
        return len(self.processes)

    def restrict(self, threads: int) -> Context:
        """The same, about these threads only."""
        return Context(
            self.now_ns,
            self.free & threads,
            self.threads & threads,
            self.processes,
            self.nodes,
            self.word,
            self.is_stopped,
        )

    def with_word(self, word: int) -> Context:
        """The same, with other randomness."""
        return Context(self.now_ns, self.free, self.threads, self.processes, self.nodes, word, self.is_stopped)

    def bit_of(self, process: Process) -> int:
        """The bit of the thread that plays `process`."""
        return 1 << (len(self.processes) if process == NEMESIS else process % len(self.processes))

    def process_at(self, bit: int) -> Process:
        """The process that the thread of this one bit plays now."""
        position = bit.bit_length() - 1
        return NEMESIS if position == len(self.processes) else self.processes[position]

    def is_free(self, process: Process) -> bool:
        """Whether `process` is played now, by a thread of this context that has nothing to do."""
        bit = self.bit_of(process)
        return bool(self.free & bit) and self.process_at(bit) == process

    def some_free_bit(self) -> int:
        """A free thread's bit, chosen by `word`; 0 when none is free. Every thread gets its turn, also at low rates."""
        free = self.free
        if not free:
            return 0
        # The first free thread at or after a random place, around the end: no loop, and fair enough to spread over
        # the nodes.
        above = free >> ((self.word >> 8) % free.bit_length())
        return (above & -above) << (free.bit_length() - above.bit_length())

    def free_threads(self) -> list[Thread]:
        """The free threads, clients first."""
        return self._names(self.free)

    def all_threads(self) -> list[Thread]:
        """The threads that this context is about, clients first."""
        return self._names(self.threads)

    def _names(self, bits: int) -> list[Thread]:
        names: list[Thread] = [thread for thread in range(len(self.processes)) if bits >> thread & 1]
        return [*names, NEMESIS] if bits >> len(self.processes) & 1 else names


Step: TypeAlias = "tuple[Invocation | Pending, Generator] | None"
"""An answer: (invocation or PENDING, what to ask next), or None for exhausted. Invocations in it have their time and
process."""


class Generator(msgspec.Struct, frozen=True):
    """Base class of generators. Immutable: `op` and `update` return new values and change nothing."""

    def op(self, context: Context) -> Step:
        """The next op; see the module."""
        raise NotImplementedError

    def update(self, context: Context, event: Op) -> Generator:
        """The generator that knows of `event`, which some process began or ended. `context` is that of the whole run."""
        return self

    @property
    def is_attentive(self) -> bool:
        """Whether it must be told of events before its turn comes: final reads must know which keys were used."""
        return False

    @property
    def quiet_until_ns(self) -> int:
        """Until this time `op` offers nothing, whatever completes, and the interpreter need not ask. 0: it may offer something at
        any time. The interpreter may notice an exhausted generator only at this time."""
        return 0


Generatable: TypeAlias = Union[
    Generator, Invocation, Mapping[str, Any], Callable[[Context], Any], "Iterable[Generatable]", None
]
"""What `lift` takes. A mapping is an Invocation by field names."""


class Nothing(Generator, frozen=True):
    """Exhausted from the start."""

    def op(self, context: Context) -> Step:
        return None


class Once(Generator, frozen=True):
    """One invocation, then nothing."""

    invocation: Invocation

    def op(self, context: Context) -> Step:
        invocation = filled(self.invocation, context)
        return (PENDING, self) if invocation is None else (invocation, NOTHING)

    @property
    def quiet_until_ns(self) -> int:
        return self.invocation.time or 0


class Call(Generator, frozen=True):
    """Calls a function of the context for the next generator, again and again, until it returns None."""

    function: Callable[[Context], Generatable]

    def op(self, context: Context) -> Step:
        if not context.free:
            return PENDING, self
        return follow(self.function(context), self, context)


class Concat(Generator, frozen=True):
    """Its parts one after the other. Invariant: `head` is what is left of parts[position]; those before it are exhausted."""

    head: Generator
    parts: tuple[Generator, ...]
    position: int
    attentive: tuple[int, ...]

    def op(self, context: Context) -> Step:
        head, position, last = self.head, self.position, len(self.parts) - 1
        while position < last:
            step = head.op(context)
            if step is not None:
                invocation, head_next = step
                if head_next is self.head and position == self.position:
                    return invocation, self
                return invocation, Concat(head_next, self.parts, position, self.attentive)
            position += 1
            head = self.parts[position]
        return head.op(context)

    def update(self, context: Context, event: Op) -> Generator:
        head, parts = self.head.update(context, event), self.parts
        for position in self.attentive:
            if position > self.position:
                part = parts[position].update(context, event)
                if part is not parts[position]:
                    parts = (*parts[:position], part, *parts[position + 1 :])
        if head is self.head and parts is self.parts:
            return self
        return Concat(head, parts, self.position, self.attentive)

    @property
    def is_attentive(self) -> bool:
        return bool(self.attentive) or self.head.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        head, position = self.head, self.position
        while head is NOTHING and position + 1 < len(self.parts):
            position += 1
            head = self.parts[position]
        return head.quiet_until_ns


NOTHING: Final = Nothing()


def concat(*parts: Generatable) -> Generator:
    """All of the first part, then all of the second, and so on.

    Events go to the part whose turn it is (Jepsen's rule), and to later ones that are attentive.
    """
    generators = tuple(lift(part) for part in parts)
    match generators:
        case ():
            return NOTHING
        case (single,):
            return single
        case _:
            attentive = tuple(position for position, part in enumerate(generators) if part.is_attentive)
            return Concat(generators[0], generators, 0, attentive)


def lift(value: Generatable) -> Generator:
    """`value` as a generator.

    Raises GeneratorError for what cannot be one, and for a mapping with a field that Invocation does not have.
    """
    match value:
        case Generator():
            return value
        case None:
            return NOTHING
        case Invocation():
            return Once(value)
        case str() | bytes():
            raise GeneratorError(f"not a generator: {value!r} (an op is an Invocation or a mapping with at least `f`)")
        case Mapping():
            try:
                return Once(msgspec.convert(value, Invocation))
            except msgspec.ValidationError as error:
                raise GeneratorError(f"not an op: {dict(value)!r}: {error}") from error
        case _ if callable(value):
            return Call(value)
        case Iterable():
            return concat(*value)
        case _:
            raise GeneratorError(f"not a generator: {value!r}")


def filled(invocation: Invocation, context: Context) -> Invocation | None:
    """`invocation` with its time and process, or None while no process that may do it is free."""
    process = invocation.process
    if process is None:
        bit = context.some_free_bit()
        if not bit:
            return None
        process = context.process_at(bit)
    elif not context.is_free(process):
        return None
    now_ns, time = context.now_ns, invocation.time
    return Invocation(
        invocation.f,
        invocation.key,
        invocation.value,
        now_ns if time is None or time < now_ns else time,
        process,
        invocation.type,
    )


def follow(value: Generatable, then: Generator, context: Context) -> Step:
    """A step of `value`, and `then` after its end. None when `value` is None or has nothing at all."""
    if isinstance(value, Invocation):  # The common case of a function generator, without the wrappers.
        invocation = filled(value, context)
        if invocation is not None:
            return invocation, then
    head = lift(value)
    step = head.op(context)
    if step is None:
        return None
    invocation_or_pending, head = step
    if head is NOTHING:
        return invocation_or_pending, then
    return invocation_or_pending, Concat(head, (head, then), 0, (1,) if then.is_attentive else ())


def retimed(invocation: Invocation, time: int) -> Invocation:
    """The same at another time."""
    return Invocation(invocation.f, invocation.key, invocation.value, time, invocation.process, invocation.type)


def time_of(invocation: Invocation) -> int:
    """The time of an invocation that came out of `op`."""
    assert invocation.time is not None, "an invocation that comes out of op() has its time"
    return invocation.time


def soonest(first: Step, second: Step) -> bool:
    """Whether `second` should happen rather than `first`: an op before PENDING before None, an earlier op before a
    later one."""
    if second is None or first is None:
        return second is not None
    if isinstance(second[0], Pending) or isinstance(first[0], Pending):
        return not isinstance(second[0], Pending)
    return time_of(second[0]) < time_of(first[0])


def is_due(step: Step, context: Context) -> bool:
    """Whether the step has an op for now: no other step can be sooner."""
    return step is not None and not isinstance(step[0], Pending) and time_of(step[0]) <= context.now_ns


def advanced(context: Context) -> Context:
    """The same with another random word, for a combinator that must ask twice in one step.

    Not the word that the interpreter goes on to, or the next step would draw again what this one has refused.
    """
    return context.with_word(mixed(context.word ^ _ASIDE))


_ASIDE = 0x5851F42D4C957F2D
"""Any odd constant that leaves the interpreter's sequence of words would do; this is Knuth's MMIX multiplier."""
