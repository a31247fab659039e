"""Forward, return event by return event: keeps every configuration that is not dominated and forgets what lies behind.

Refutes with little memory, because what it keeps depends on the concurrency and not on the length. Where operations
crashed, counting each class makes the antichain explode, so it starts by counting only their sum, at a price for each
class: no linearization can have used crashed operations worth more than all that were called by then. This allows more
than the history does (a surrogate constraint: Glover 1968), so a death is a refutation all the same. A survivor, the
cheapest, is replayed with honest counts. Where it used a class too often, the class gets dearer, and the search starts
again; when that has not helped a few times, the class is counted by itself from now on (abstraction refinement: Clarke
et al., CAV 2000). With every class counted the search is exact, so it ends.

A death bounds the failing prefix from above only. The search then asks in the same way whether everything before that
event can be explained, until the bound is exact.

Dominance (rule 4) carries over to what is counted here: a configuration that is no dearer and has used no more of any
counted class can follow the other wherever these sums and counts let it go.
"""

from __future__ import annotations

from typing import Any

from checkers.linearizability.outcome import SAMPLE_SIZE, Outcome, Snapshot, Step, decode, replay
from checkers.linearizability.problem import Problem, Window
from checkers.linearizability.result import Configuration

Node = tuple[Any, Step] | None
"""The path to a configuration, last step first; shared between configurations, and freed with the last of them."""

RAISES_MAX = 3
"""Times that prices are raised before a class is counted by itself."""

PRICE_MAX = 100
"""Dear enough: prices are small so that sums are exact in the native core's integers."""


class _Configuration:
    """counts: uses of the counted classes. cost: uses of all classes, at their prices.

    is_entering: it was reached at an earlier event and not looked at yet at this one.
    """

    __slots__ = ("cost", "counts", "is_alive", "is_entering", "node", "pures", "state", "updates")

    def __init__(self, updates: int, pures: int, state: int, counts: tuple[int, ...], cost: int, node: Node) -> None:
        self.updates = updates
        self.pures = pures
        self.state = state
        self.counts = counts
        self.cost = cost
        self.node = node
        self.is_alive = True
        self.is_entering = True


class _Antichain:
    """Configurations none of which dominates another (rule 4), in order of insertion. live: how many there are."""

    def __init__(self) -> None:
        self.inserted: list[_Configuration] = []
        self.live = 0
        self._by_key: dict[tuple[int, int], list[_Configuration]] = {}

    def insert(self, new: _Configuration) -> bool:
        """Whether no other dominates it. Those that it dominates die."""
        others = self._by_key.setdefault((new.updates, new.state), [])
        for other in others:
            if (
                other.cost <= new.cost
                and new.pures & ~other.pures == 0
                and all(map(int.__le__, other.counts, new.counts))
            ):
                return False
        for other in others:
            if (
                new.cost <= other.cost
                and other.pures & ~new.pures == 0
                and all(map(int.__le__, new.counts, other.counts))
            ):
                other.is_alive = False
                self.live -= 1
        others[:] = [other for other in others if other.is_alive]
        others.append(new)
        self.inserted.append(new)
        self.live += 1
        return True


class Forward:
    """The search, resumable.

    bound: the return event before which it stops; everything, until a death lowers it. is_refuted: there was one.
    restarts: passes that were refined. widest: the most configurations kept after one event. counted: classes counted
    now.
    """

    def __init__(self, problem: Problem, width_max: int) -> None:
        self.problem = problem
        self.width_max = width_max
        self.explored = 0
        self.widest = 0
        self.restarts = 0
        self.bound = problem.size
        self.is_refuted = False
        self.counted: list[int] = []
        self._prices = [1] * len(problem.class_op)
        self._raises = 0
        self._sample: list[Snapshot] = []
        self._linearization: list[int] = []
        self._start()

    @property
    def reached(self) -> int:
        """The return event at which this pass stands."""
        return self._window.k

    def refute(self, k: int) -> None:
        """Take for granted that return event k cannot be passed, for a reason that the caller has; before any `run`."""
        self.is_refuted = True
        self.bound = k

    def linearization(self) -> list[int]:
        """Positions in the entries, after FOUND."""
        return self._linearization

    def configurations(self) -> tuple[Configuration, ...]:
        """What was possible just before the refutation, after EXHAUSTED, the first few."""
        return tuple(decode(self.problem, self.bound, snapshot) for snapshot in self._sample)

    def run(self, until: int) -> Outcome:
        """Go on until so many configurations were explored in all, or a few more. EXHAUSTED: refuted, and `bound` is
        exact.
        """
        while True:
            if self._window.k == self.bound:
                if (outcome := self._judge()) is not None:
                    return outcome
            elif self.explored >= until:
                return Outcome.RUNNING
            elif self._work.live + self._next.live > self.width_max:
                return Outcome.GAVE_UP
            elif not self._advance_one() and not self._finish_event():
                self.is_refuted = True
                self.bound = self._window.k
                # `current` is what was possible just before it.

    def _start(self) -> None:
        self._window = Window(self.problem)
        first = _Configuration(0, self._window.legal(0), 0, (0,) * len(self.counted), 0, None)
        self._begin_event([first])

    def _begin_event(self, current: list[_Configuration]) -> None:
        self._current = current
        self._work, self._next = _Antichain(), _Antichain()
        self._cost_max = sum(map(int.__mul__, self._prices, self._window.available))
        # Cheapest first, so that few are replaced by cheaper ones after they were expanded.
        self._levels: dict[int, list[_Configuration]] = {}
        for configuration in current:
            self._levels.setdefault(configuration.cost, []).append(configuration)
        self._level = current[0].cost  # They arrive in order of their costs.
        self._position = 0

    def _advance_one(self) -> bool:
        """Take the next configuration of this event; false when there is none left."""
        while self._position == len(self._levels[self._level]):
            del self._levels[self._level]
            if not self._levels:
                self._levels[self._level] = []
                self._position = 0
                return False
            self._level = min(self._levels)
            self._position = 0
        configuration = self._levels[self._level][self._position]
        self._position += 1
        if not configuration.is_alive:
            return True
        if self._window.is_done(configuration.updates, configuration.pures):
            self.explored += 1
            self._pass(configuration)
        elif not configuration.is_entering or self._work.insert(configuration):
            self._expand(configuration)
        return True

    def _pass(self, done: _Configuration) -> None:
        """The operation that returns is linearized: its slot is free again."""
        updates, pures, k = done.updates, done.pures, self._window.k
        if self.problem.is_pure[k]:
            pures &= ~self.problem.bit[k]
        else:
            updates &= ~self.problem.bit[k]
        self._next.insert(_Configuration(updates, pures, done.state, done.counts, done.cost, done.node))

    def _expand(self, parent: _Configuration) -> None:
        problem, window = self.problem, self._window
        for number in window.candidates(parent.updates):
            for following in problem.table.following(parent.state, problem.op[number]):
                self._add(parent, (number, following), parent.updates | problem.bit[number], parent.counts)
        if not problem.class_op:
            return
        for crashed in window.usable(parent.updates):
            counts = parent.counts
            if crashed in self.counted:
                place = self.counted.index(crashed)
                if counts[place] == window.available[crashed]:
                    continue
                counts = (*counts[:place], counts[place] + 1, *counts[place + 1 :])
            for following in problem.table.following(parent.state, problem.class_op[crashed]):
                if following != parent.state:
                    self._add(parent, (~crashed, following), parent.updates, counts)

    def _add(self, parent: _Configuration, step: Step, updates: int, counts: tuple[int, ...]) -> None:
        self.explored += 1
        number, state = step
        cost = parent.cost
        if number < 0:
            cost += self._prices[~number]
            if cost > self._cost_max:
                return
        pures = parent.pures | self._window.legal(state)
        child = _Configuration(updates, pures, state, counts, cost, (parent.node, step))
        if self._window.is_done(updates, pures):
            if number >= 0:
                self._pass(child)
            else:  # Its turn comes with those of the same cost, which keeps the next event's in order.
                self._levels.setdefault(cost, []).append(child)
        elif self._work.insert(child):
            child.is_entering = False
            self._levels.setdefault(cost, []).append(child)

    def _finish_event(self) -> bool:
        """Go on to the next return event; false when no configuration got past this one."""
        self.widest = max(self.widest, self._next.live)
        following = [configuration for configuration in self._next.inserted if configuration.is_alive]
        if not following:
            return False
        self._window.forward()
        for configuration in following:
            configuration.pures |= self._window.legal_since(configuration.state)
        self._begin_event(following)
        return True

    def _judge(self) -> Outcome | None:
        """Whether some survivor at the bound is honest; None: refined, start again."""
        honest: list[Snapshot] = []
        overdrawn: tuple[int, ...] = ()
        for survivor in self._current[:SAMPLE_SIZE]:
            path = replay(self.problem, _steps(survivor.node))
            if path.overdrawn:
                overdrawn = overdrawn or path.overdrawn
            elif self.is_refuted:
                honest.append(Snapshot(survivor.updates, survivor.pures, survivor.state, path.used))
            else:
                self._linearization = path.linearization
                return Outcome.FOUND
        if honest:
            self._sample = honest
            return Outcome.EXHAUSTED
        if self._raises < RAISES_MAX:
            self._raises += 1
            for crashed in overdrawn:
                price = self._prices[crashed]
                self._prices[crashed] = min(price + 1 + price // 2, PRICE_MAX)
        else:
            self._raises = 0
            self.counted += overdrawn
        self.restarts += 1
        self._start()
        return None


def _steps(node: Node) -> list[Step]:
    steps = []
    while node is not None:
        node, step = node
        steps.append(step)
    steps.reverse()
    return steps
