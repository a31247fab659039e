"""Groups of threads that each work on one key at a time, for workloads on many independent objects.

Source: jepsen.independent/concurrent-generator. Linearizability is checked key by key and its cost grows steeply with
the number of ops on one key, so many short keys find more than one long key. Keys are whole numbers from 0 up, in
order of first use.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.generators.core import (
    NOTHING,
    PENDING,
    Context,
    Generator,
    GeneratorError,
    Pending,
    Step,
    soonest,
    time_of,
)
from histories.op import NEMESIS, Op


class ConcurrentKeys(Generator, frozen=True):
    """Each group does the ops of its key's generator; when that is exhausted, the group takes the next key.

    threads[i], inner[i]: the bits of group i, and what it does now (None: no key left). owner[b]: the group of thread
    b. Invariant: keys below next_key are in use or done.
    """

    make: Callable[[int], Generator]
    keys_max: int | None
    threads: tuple[int, ...]
    owner: tuple[int, ...]
    inner: tuple[Generator | None, ...]
    next_key: int

    def op(self, context: Context) -> Step:
        free = context.free
        bit = context.some_free_bit()
        if not bit:
            return PENDING, self
        place = bit.bit_length() - 1
        first = self.owner[place] if place < len(self.owner) else 0
        count, next_key = len(self.threads), self.next_key
        inner, best, best_at, is_pending = list(self.inner), None, 0, False
        for turn in range(count):
            position = (first + turn) % count
            generator, threads = inner[position], self.threads[position]
            if generator is None:
                continue
            if not free & threads:
                is_pending = is_pending or bool(context.threads & threads)
                continue
            own = context.restrict(threads)
            step = generator.op(own)
            while step is None and generator is not None:
                generator = None
                if self.keys_max is None or next_key < self.keys_max:
                    generator = self.make(next_key)
                    next_key += 1
                    step = generator.op(own)
            if step is None:
                inner[position] = None
                continue
            if isinstance(step[0], Pending):
                is_pending = True
                inner[position] = step[1]
                continue
            if soonest(best, step):
                best, best_at = step, position
                if time_of(step[0]) <= context.now_ns:
                    break
            if generator is not None:
                inner[position] = generator
        if best is None:
            if not is_pending:
                return None
            return PENDING, ConcurrentKeys(self.make, self.keys_max, self.threads, self.owner, tuple(inner), next_key)
        inner[best_at] = best[1]
        return best[0], ConcurrentKeys(self.make, self.keys_max, self.threads, self.owner, tuple(inner), next_key)

    def update(self, context: Context, event: Op) -> Generator:
        process = event.process
        if process == NEMESIS:
            return self
        position = self.owner[process % len(self.owner)]
        generator = self.inner[position]
        if generator is None:
            return self
        updated = generator.update(context, event)
        if updated is generator:
            return self
        inner = (*self.inner[:position], updated, *self.inner[position + 1 :])
        return ConcurrentKeys(self.make, self.keys_max, self.threads, self.owner, inner, self.next_key)


def concurrent_keys(
    concurrency: int, threads_per_key: int, make: Callable[[int], Generator], keys_max: int | None = None
) -> Generator:
    """Client threads in groups of about `threads_per_key`; each group works through `make(key)` for one key after
    another.

    Where the threads do not divide evenly, some groups are larger by one, none is smaller; too few threads make one group. Use
    inside `clients`. keys_max: so many keys in all; None: without end (a `make` that returns an exhausted generator would then
    never end). Raises GeneratorError for counts below 1.
    """
    for argument, count in (("concurrency", concurrency), ("threads_per_key", threads_per_key)):
        if count < 1:
            raise GeneratorError(f"{argument} is {count!r}; it must be at least 1")
    groups = max(1, concurrency // threads_per_key)
    owner = tuple(thread * groups // concurrency for thread in range(concurrency))
    threads = [0] * groups
    for thread, group in enumerate(owner):
        threads[group] |= 1 << thread
    not_started = (
        NOTHING,
    ) * groups  # An exhausted generator, so that each group takes its first key when its turn comes.
    return ConcurrentKeys(make, keys_max, tuple(threads), owner, not_started, 0)
