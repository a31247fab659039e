"""Divides work among threads: generators for some threads, one for each thread, groups of threads with work of their own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection

from harness.generators.core import (
    NOTHING,
    PENDING,
    Context,
    Generatable,
    Generator,
    GeneratorError,
    Pending,
    Step,
    Thread,
    is_due,
    lift,
    soonest,
)
from histories.op import NEMESIS, Op, Process


class OnThreads(Generator, frozen=True):
    """The inner generator, seeing only the threads that `select` takes. threads: their bits; None before the first
    use."""

    select: Callable[[Thread], bool]
    inner: Generator
    threads: int | None = None

    def op(self, context: Context) -> Step:
        threads = self._threads(context) if self.threads is None else self.threads
        if not threads & context.threads:
            return None  # No thread will ever be free, as for the nemesis' copy of each_thread(clients(...)).
        step = self.inner.op(context.restrict(threads))
        if step is None:
            return None
        if step[1] is self.inner and threads == self.threads:
            return step[0], self
        return step[0], OnThreads(self.select, step[1], threads)

    def update(self, context: Context, event: Op) -> Generator:
        # Every event passes here, more than once: hence without the calls that would say the same in fewer words.
        threads = self._threads(context) if self.threads is None else self.threads
        process, count = event.process, len(context.processes)
        if not threads >> (count if process == NEMESIS else process % count) & 1:
            return self
        inner = self.inner.update(context, event)
        return self if inner is self.inner else OnThreads(self.select, inner, threads)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        return self.inner.quiet_until_ns

    def _threads(self, context: Context) -> int:
        if self.threads is not None:
            return self.threads
        bits = sum(1 << thread for thread in range(context.concurrency) if self.select(thread))
        return bits | (1 << context.concurrency if self.select(NEMESIS) else 0)


def on_threads(threads: Callable[[Thread], bool] | Collection[Thread], generator: Generatable) -> Generator:
    """`generator`, for these threads only (a collection, or a function that says whether a thread is one)."""
    return OnThreads(threads if callable(threads) else frozenset(threads).__contains__, lift(generator))


def _is_client(thread: Thread) -> bool:
    return thread != NEMESIS


def _is_nemesis(thread: Thread) -> bool:
    return thread == NEMESIS


def clients(client: Generatable, nemesis_generator: Generatable = None) -> Generator:
    """`client` for the client threads, and beside it `nemesis_generator` for the nemesis."""
    alone = OnThreads(_is_client, lift(client))
    return alone if nemesis_generator is None else any_of(alone, nemesis(nemesis_generator))


def nemesis(nemesis_generator: Generatable, client: Generatable = None) -> Generator:
    """`nemesis_generator` for the nemesis, and beside it `client` for the client threads."""
    alone = OnThreads(_is_nemesis, lift(nemesis_generator))
    return alone if client is None else any_of(alone, clients(client))


class AnyOf(Generator, frozen=True):
    """Whichever of the generators has the soonest op; ties are broken by the context's word."""

    inner: tuple[Generator, ...]

    def op(self, context: Context) -> Step:
        best: Step = None
        best_at, count = 0, len(self.inner)
        for turn in range(count):
            position = ((context.word >> 40) + turn) % count
            step = self.inner[position].op(context)
            if soonest(best, step):
                best, best_at = step, position
                if is_due(step, context):
                    break
        if best is None:
            return None
        if best[1] is self.inner[best_at]:
            return best[0], self
        return best[0], AnyOf((*self.inner[:best_at], best[1], *self.inner[best_at + 1 :]))

    def update(self, context: Context, event: Op) -> Generator:
        inner = tuple([generator.update(context, event) for generator in self.inner])
        return self if all(map(operator.is_, inner, self.inner)) else AnyOf(inner)

    @property
    def is_attentive(self) -> bool:
        return any(generator.is_attentive for generator in self.inner)

    @property
    def quiet_until_ns(self) -> int:
        return min(generator.quiet_until_ns for generator in self.inner)


def any_of(*generators: Generatable) -> Generator:
    """Ops of all generators, each as soon as it is due. Jepsen's `any`."""
    return AnyOf(tuple(lift(generator) for generator in generators)) if generators else NOTHING


class Groups(Generator, frozen=True):
    """Generators side by side, each for its own threads, which share none.

    threads[i]: the bits of group i. owner[b]: the group of the thread with bit b, or None. inner[i]: None when
    exhausted.
    """

    threads: tuple[int, ...]
    owner: tuple[int | None, ...]
    inner: tuple[Generator | None, ...]

    def op(self, context: Context) -> Step:
        # A group is tried first as often as its share of the free threads says, so that ties fall by weight (Jepsen's
        # rule).
        bit = context.some_free_bit()
        first = self.owner[bit.bit_length() - 1] if bit else None
        inner, best, best_at, is_pending = list(self.inner), None, 0, False
        count = len(inner)
        for turn in range(count):
            position = ((first or 0) + turn) % count
            generator = inner[position]
            if generator is None:
                continue
            threads = self.threads[position]
            if not context.free & threads:
                # A group whose threads are not of this context (any more) will never have an op here.
                is_pending = is_pending or bool(context.threads & threads)
                continue
            step = generator.op(context.restrict(threads))
            if step is None:
                inner[position] = None
            elif isinstance(step[0], Pending):
                is_pending = True
                inner[position] = step[1]
            elif soonest(best, step):
                best, best_at = step, position
                if is_due(step, context):
                    break
        if best is None:
            return (PENDING, Groups(self.threads, self.owner, tuple(inner))) if is_pending else None
        inner[best_at] = best[1]
        return best[0], Groups(self.threads, self.owner, tuple(inner))

    def update(self, context: Context, event: Op) -> Generator:
        bit = context.bit_of(event.process)
        position = self.owner[bit.bit_length() - 1]
        generator = None if position is None else self.inner[position]
        if position is None or generator is None:
            return self
        updated = generator.update(context, event)
        if updated is generator:
            return self
        return Groups(self.threads, self.owner, (*self.inner[:position], updated, *self.inner[position + 1 :]))


def grouped(context: Context, threads: list[int], generators: list[Generator]) -> Groups:
    """Groups for these threads; at most those of the context take part. Groups without any thread have nothing to
    say."""
    owner: list[int | None] = [None] * (context.concurrency + 1)
    own = [bits & context.threads for bits in threads]
    for position, bits in enumerate(own):
        for place in range(context.concurrency + 1):
            if bits >> place & 1:
                owner[place] = position
    inner = tuple(
        generator if bits and generator is not NOTHING else None
        for bits, generator in zip(own, generators, strict=True)
    )
    return Groups(tuple(own), tuple(owner), inner)


class ByContext(Generator, frozen=True):
    """The generator that `build` makes of the context when its turn comes. Until then it is told of no event."""

    build: Callable[[Context], Generator]

    def op(self, context: Context) -> Step:
        return self.build(context).op(context)


def each_thread(generator: Generatable) -> Generator:
    """A copy of `generator` for each thread, independent of the others; exhausted when all are."""
    lifted = lift(generator)

    def build(context: Context) -> Generator:
        bits = [1 << place for place in range(context.concurrency + 1) if context.threads >> place & 1]
        return grouped(context, bits, [lifted] * len(bits))

    return ByContext(build)


def reserve(*arguments: int | Generatable) -> Generator:
    """reserve(5, a, 3, b, rest): `a` on the first five threads of the context, `b` on the next three, `rest` on all
    others.

    Raises GeneratorError when counts and generators do not alternate, or (when its turn comes) there are too few
    threads.
    """
    *pairs, rest = arguments if len(arguments) % 2 else (*arguments, None)
    counts, generators = pairs[0::2], pairs[1::2]
    for count in counts:
        if not isinstance(count, int) or count < 1:
            raise GeneratorError(f"reserve takes a count before each generator but the last: {count!r} is not one")
    if isinstance(rest, int):
        raise GeneratorError(f"reserve ends with a generator, not with the count {rest!r}")
    lifted = [lift(generator) for generator in (*generators, rest) if not isinstance(generator, int)]
    if len(lifted) != len(generators) + 1:
        raise GeneratorError("reserve takes a generator after each count")
    numbers = [count for count in counts if isinstance(count, int)]

    def build(context: Context) -> Generator:
        places = [place for place in range(context.concurrency + 1) if context.threads >> place & 1]
        if sum(numbers) > len(places):
            raise GeneratorError(f"reserve wants {sum(numbers)} threads, but there are {len(places)}")
        threads = []
        for count in numbers:
            threads.append(sum(1 << place for place in places[:count]))
            places = places[count:]
        threads.append(sum(1 << place for place in places))
        return grouped(context, threads, lifted)

    return ByContext(build)


class EachProcess(Generator, frozen=True):
    """A copy of `original` for each process, those that replace crashed ones included."""

    original: Generator
    copies: dict[Process, Generator | None]

    def op(self, context: Context) -> Step:
        copies, best, best_process, is_pending = dict(self.copies), None, None, False
        places = [place for place in range(context.concurrency + 1) if context.threads >> place & 1]
        first = (context.word >> 40) % max(1, len(places))
        for place in (*places[first:], *places[:first]):
            bit = 1 << place
            process = context.process_at(bit)
            copy = copies.get(process, self.original)
            if copy is None:
                # Done with this process; the thread may still get another one while it is busy.
                is_pending = is_pending or not context.free & bit
                continue
            if not context.free & bit:
                is_pending = True
                continue
            step = copy.op(context.restrict(bit))
            if step is None:
                copies[process] = None
            elif isinstance(step[0], Pending):
                is_pending = True
                copies[process] = step[1]
            elif soonest(best, step):
                best, best_process = step, process
        if best is None or best_process is None:
            return (PENDING, EachProcess(self.original, copies)) if is_pending else None
        copies[best_process] = best[1]
        return best[0], EachProcess(self.original, copies)

    def update(self, context: Context, event: Op) -> Generator:
        copy = self.copies.get(event.process)
        if copy is None:
            return self
        updated = copy.update(context, event)
        return self if updated is copy else EachProcess(self.original, {**self.copies, event.process: updated})


def each_process(generator: Generatable) -> Generator:
    """A copy of `generator` for each process; a process that replaces a crashed one begins anew."""
    return EachProcess(lift(generator), {})
