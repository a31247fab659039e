"""The FIFO queue, exact in O(n log n): puts, takes, peeks, takes that found it empty, crashed puts and takes.

Words and bounds are those of collection.py. Not decided, and left to the search: a value that is put in twice; a value that
was peeked at and never taken, where takes crashed.

**Order.** In a queue a value u goes before v exactly when its put comes first, and then u is taken before v is first seen at
the front (by a peek or its take). So u *must* go before v when `e_hi(u) < e_lo(v)`, or when v first before u is impossible:
`h(u) < d_lo(v)`. The history without empties and crashed takes is linearizable exactly when this relation has no cycle.

*Peeks normalised.* Where `h(v) < d_lo(v)`, v is at the front in all gaps between, so no other value is first seen or taken
there: two such zones that overlap are a cycle of two, and the h of another value inside a zone moves down to h(v). After that
`h(w) < d_lo(v)` implies `h(w) <= h(v)`. In doubled numbers, with both bounds of v set to 2 h(v) + 1, the second relation is
that of ordinary intervals. (A d_lo inside a zone could move up to d_lo(v), which changes nothing: no h is left between the two,
no empty fits there, and v, which comes before, is taken at d_lo(v) or later.)

*A cycle implies a cycle of two.* Both relations are interval orders: of a -> b and c -> d in one of them, a -> d or c -> b
holds as well, and each is transitive. A shortest cycle therefore has no two edges of one relation unless it has only two
edges, so it has two. A pair u, v with `e_hi(u) < e_lo(v)` and `h(v) < d_lo(u)` is found by a sweep in order of e_lo that
keeps the largest d_lo of what has ended.

*No cycle is enough.* Put the values in any order that extends the relation; place puts at the running maximum of e_lo, and
what looks at the front at the running maximum of d_lo, its own lo and its put. If one exceeded its hi, an earlier value's lo
would exceed this one's hi, and the relation would have said the opposite order.

**Empties**: the cut lemma. The values between two chosen empties are placed on their own; clipping intervals to the gaps
between adds nothing to the relation, for a value of the block has `d_lo` at most the block's end and `e_hi` at least its
beginning.

**Crashed takes.** Let u be a value that was completely put in and that no completed take names. If a crashed take may name it,
then in any gap from the take's call c on. u *must* be taken by `V(u)`, the least h(b) of those b that u must precede, and by
the first empty after e_hi(u). Values that need not be taken are not: without a take they stay behind the others. Crashed takes
that are left over did not happen. So the deadlines are matched with the calls: each needs a c of its own, `c <= deadline`.
These sets of c are nested, so matching both in ascending order succeeds if anything does (Hall). Values that must be taken are
closed downwards (if w precedes u, then V(w) <= V(u)), hence no conflict arises between those that are and those that are not.
An empty fits into a gap g exactly when no value with a completed take covers it and for all t >= g

    #{u : V(u) <= t or e_hi(u) < g} <= #{c <= t}.

Once the deadlines are matched, this says no more than #{u : e_hi(u) < g} <= #{c <= g}. For t = g: V(u) <= g implies e_hi(u) < g,
because V(u) is the h of a value put in after e_hi(u). For t > g: if no u with e_hi(u) >= g is due by t, the left side is what it
was at g. If one is, every u with e_hi(u) < g precedes the same value, so it is due by t as well, and the deadlines are matched.
The demands of a later empty contain those of an earlier one, so each empty may be judged alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.collection import PEEKED_NEVER_TAKEN, Said, Values, gather, said
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.linearizability.monitors.placing import matched, merged
from checkers.models.model import Model


def decide(entries: Entries, model: Model) -> Decision:
    """The pure monitor of FifoQueue."""
    spoken = said(entries, model, "enqueue", "dequeue")
    return spoken if isinstance(spoken, Decision) else decide_said(spoken, entries)


def decide_said(spoken: Said, entries: Entries) -> Decision:
    """The same, of entries in numbers."""
    values = gather(spoken, entries)
    return values if isinstance(values, Decision) else _Fifo(values).decide()


class _Fifo:
    """One history. taken: the values whose order is known: completely taken, or all where no take crashed.

    left: the values that only a crashed take can take.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        alive = values.alive()
        has_crashed = bool(values.unknown_takes)
        self.taken = [v for v in alive if values.take[v] >= 0 or not has_crashed]
        self.left = [v for v in alive if values.take[v] < 0 and has_crashed]
        self.h, self.d_lo = list(values.h), list(values.d_lo)  # Normalised; the covers are those of the values.
        self.zone_of: dict[int, int] = {}
        self.zones: list[int] = []
        self.calls = sorted(values.lo[i] for i in values.unknown_takes)

    def decide(self) -> Decision:
        if any(self.values.peeks[v] for v in self.left):
            return undecided(PEEKED_NEVER_TAKEN)
        wrong = self.normalise() or self.pair()
        if wrong:
            return invalid(wrong)
        self.find_deadlines()
        if (short := matched(self.deadline, self.calls)) is not None:
            return invalid(self.demand(self.by_deadline[: short + 1]))
        chosen: dict[int, list[int]] = {}
        allowed = self.allowed()
        for i in self.values.empties:
            g = allowed[self.values.lo[i]]
            if g > self.values.hi[i]:
                return invalid(self.hidden(i))
            chosen.setdefault(g, []).append(i)
        return valid(self.linearization(chosen))

    def normalise(self) -> list[int]:
        """Move the bounds that lie in the zones of peeks; a core where two zones overlap, or a zone holds a whole take."""
        values, h, d_lo = self.values, self.h, self.d_lo
        self.zones = zones = sorted((v for v in self.taken if h[v] < d_lo[v]), key=h.__getitem__)
        for a, b in pairwise(zones):
            if h[b] < d_lo[a]:
                return [*values.whole(a), *values.whole(b)]
        begins = [h[v] for v in zones]
        for v in self.taken:
            if h[v] < d_lo[v]:
                continue
            at = bisect_left(begins, h[v]) - 1
            if at >= 0 and h[v] < values.d_lo[zones[at]]:
                self.zone_of[v] = zones[at]
                h[v] = begins[at]
            if values.take[v] >= 0 and h[v] < d_lo[v]:
                return [*values.whole(v), *values.whole(self.zone_of[v])]
        return []

    def pair(self) -> list[int]:
        """A core of two values each of which must precede the other; empty: there are none."""
        values = self.values
        ended = sorted(self.taken, key=values.e_hi.__getitem__)
        at, latest = 0, -1
        for v in sorted(self.taken, key=values.e_lo.__getitem__):
            while at < len(ended) and values.e_hi[ended[at]] < values.e_lo[v]:
                if latest < 0 or self.d_lo[ended[at]] > self.d_lo[latest]:
                    latest = ended[at]
                at += 1
            if latest >= 0 and self.d_lo[latest] > self.h[v]:
                zones = [self.zone_of[each] for each in (v, latest) if each in self.zone_of]
                return [i for each in (v, latest, *zones) for i in values.whole(each)]
        return []

    def find_deadlines(self) -> None:
        """by_deadline: the values that must be taken by a crashed take, with deadline[i] for the i-th, ascending.

        blocker[v]: the value that gives the deadline.
        """
        values = self.values
        by_begin = sorted((v for v in self.taken if values.take[v] >= 0), key=values.e_lo.__getitem__, reverse=True)
        self.blocker: dict[int, int] = {}
        at, best = 0, -1
        for u in sorted(self.left, key=values.e_hi.__getitem__, reverse=True):
            while at < len(by_begin) and values.e_lo[by_begin[at]] > values.e_hi[u]:
                if best < 0 or self.h[by_begin[at]] < self.h[best]:
                    best = by_begin[at]
                at += 1
            if best >= 0:
                self.blocker[u] = best
        self.by_deadline = sorted(self.blocker, key=lambda u: (self.h[self.blocker[u]], u))
        self.deadline = [self.h[self.blocker[u]] for u in self.by_deadline]

    def demand(self, due: Sequence[int]) -> list[int]:
        """The core that says: these values must be taken in time by crashed takes, and there are not enough."""
        values = self.values
        core = [i for u in due for v in (u, self.blocker[u]) for i in (*values.whole(v), *self.zone(v))]
        last = self.h[self.blocker[due[-1]]]
        return core + [i for i in values.unknown_takes if values.lo[i] <= last]

    def zone(self, v: int) -> list[int]:
        """What moved the bounds of a value."""
        return self.values.whole(self.zone_of[v]) if v in self.zone_of else []

    def allowed(self) -> list[int]:
        """Gap -> the first gap from there on that may hold an empty; gaps + 1 where none does."""
        values = self.values
        self.covered = covered = values.is_covered(self.taken)
        ended = sorted(values.e_hi[u] for u in self.left)
        found = [values.gaps + 1] * (values.gaps + 1)
        for g in range(values.gaps - 1, -1, -1):
            is_short = bisect_left(ended, g) > bisect_right(self.calls, g)
            found[g] = found[g + 1] if covered[g] or is_short else g
        return found

    def hidden(self, empty: int) -> list[int]:
        """The core of an operation that cannot have found the queue empty."""
        values = self.values
        first, last = values.lo[empty], values.hi[empty]
        if all(self.covered[first : last + 1]):
            return [empty, *(i for v in values.chain(first, last, self.taken) for i in values.whole(v))]
        near = [v for v in self.taken if values.e_hi[v] < last and values.d_lo[v] > first]
        due = [values.put[u] for u in self.left if values.e_hi[u] < last]
        calls = [i for i in values.unknown_takes if values.lo[i] <= last]
        return [empty, *(i for v in near for i in values.whole(v)), *due, *calls]

    def linearization(self, chosen: dict[int, list[int]]) -> list[int]:
        """Everything in order; chosen: gap -> the empties that are placed there."""
        values = self.values
        cuts = sorted(chosen)
        take = list(values.take)
        d_lo = self.d_lo
        due = dict(zip(self.by_deadline, self.deadline, strict=True))
        for u in self.left:
            at = bisect_right(cuts, values.e_hi[u])
            if at < len(cuts):
                due[u] = min(due.get(u, cuts[at]), cuts[at])
        crashed = sorted(values.unknown_takes, key=values.lo.__getitem__)
        for u, i in zip(sorted(due, key=lambda each: (due[each], each)), crashed, strict=False):
            take[u] = i
            d_lo[u] = max(values.e_lo[u], values.lo[i])
        order = self.in_order([*self.taken, *self.left], cuts)
        placed: list[tuple[int, int]] = []
        block, e_at, d_at = 0, 0, 0
        puts: list[tuple[int, int]] = []
        looks: list[tuple[int, int]] = []

        def flush(until: int) -> None:
            nonlocal block, e_at, d_at
            while block < until:
                placed.extend(merged(puts, looks))
                puts.clear()
                looks.clear()
                placed.extend((cuts[block], i) for i in chosen[cuts[block]])
                e_at = d_at = cuts[block]
                block += 1

        for v in order:
            flush(bisect_left(cuts, d_lo[v]))
            e_at = max(e_at, values.e_lo[v])
            puts.append((e_at, values.put[v]))
            begins = max(d_at, e_at)
            looks.extend(sorted((max(begins, values.lo[i]), i) for i in values.peeks[v]))
            if take[v] >= 0:
                d_at = max(d_at, e_at, d_lo[v])
                looks.append((d_at, take[v]))
        flush(len(cuts))
        placed.extend(merged(puts, looks))
        idle = sorted((values.lo[i], i) for i in values.idle)
        return [i for _, i in merged(placed, idle)]

    def in_order(self, alive: list[int], cuts: list[int]) -> list[int]:
        """The values in an order that extends the relation, block after block."""
        values, gaps = self.values, self.values.gaps
        scale = 4 * gaps + 8
        e_lo, e_hi, d_lo, h = {}, {}, {}, {}
        is_zone = set(self.zones)
        for v in alive:
            block = bisect_left(cuts, self.d_lo[v]) * scale
            e_lo[v], e_hi[v] = block + values.e_lo[v], block + values.e_hi[v]
            d_lo[v], h[v] = block + 2 * self.d_lo[v], block + 2 * self.h[v]
            if v in is_zone:
                d_lo[v] = h[v] = block + 2 * self.h[v] + 1
        by_e_lo, by_e_hi = sorted(alive, key=lambda v: (e_lo[v], v)), sorted(alive, key=lambda v: (e_hi[v], v))
        by_d_lo, by_h = sorted(alive, key=lambda v: (d_lo[v], v)), sorted(alive, key=lambda v: (h[v], v))
        passed = dict.fromkeys(alive, 0)  # 2: no put, and no look at the front, must come before this value's.
        order: list[int] = []
        at = end = front = begin = 0
        done: set[int] = set()
        while len(order) < len(alive):
            while by_e_hi[end] in done:
                end += 1
            while by_h[front] in done:
                front += 1
            while begin < len(alive) and e_lo[by_e_lo[begin]] <= e_hi[by_e_hi[end]]:
                v = by_e_lo[begin]
                passed[v] += 1
                if passed[v] == 2:
                    order.append(v)
                begin += 1
            while at < len(alive) and d_lo[by_d_lo[at]] <= h[by_h[front]]:
                v = by_d_lo[at]
                passed[v] += 1
                if passed[v] == 2:
                    order.append(v)
                at += 1
            assert len(done) < len(order), "the relation has a cycle"
            done.add(order[len(done)])
        return order
