"""Depth first: finds a linearization at once where the obvious order works, and remembers what cannot be completed.

Tried first is the operation that must return next, then the other open updates by deadline, then crashed ones. Only
configurations that failed are remembered: no path meets one twice, and a straight run through a long valid history
remembers nothing. Forgetting them is always sound, so the memory is emptied when it is full. Source: Wing and Gong
1993; Lowe 2017.
"""

from __future__ import annotations

from bisect import bisect_right

from checkers.linearizability.guide import Guide
from checkers.linearizability.outcome import SAMPLE_SIZE, Outcome, Snapshot, Step, decode, replay
from checkers.linearizability.problem import Problem, Window
from checkers.linearizability.result import Configuration


class Depth:
    """The search, resumable.

    deepest: the last return event that some path reached: everything before it can be explained together.
    explored: configurations generated. forgot: the memory was full at least once.
    """

    def __init__(self, problem: Problem, memory_max: int, guide: Guide | None = None, goal: int = -1) -> None:
        """guide: says which paths to give up; then EXHAUSTED does not mean that `deepest` cannot be passed. goal: the
        return event that a path has to reach; all of them by default.
        """
        self.problem = problem
        self.guide = guide
        self.goal = problem.size if goal < 0 else goal
        self.window = Window(problem)
        self.memory_max = memory_max
        self.forgot = False
        self.explored = 0
        self.deepest = -1
        self._sample: list[Snapshot] = []
        self._failed: dict[tuple[int, int, int], list[tuple[int, tuple[int, ...]]]] = {}
        self._remembered = 0
        self._used = [0] * len(problem.class_op)
        # One frame a step: the configuration (k, updates, pures, state) and the choice tried last, with its successor's
        # number.
        self._frames: list[tuple[int, int, int, int]] = []
        self._choices: list[Step] = []
        state = 0
        self._push(*self._settle(0, self.window.legal(state) if problem.size else 0, state))

    def run(self, until: int) -> Outcome:
        """Go on until so many configurations were explored in all, or a few more."""
        while self._frames:
            if self._frames[-1][0] >= self.goal:
                return Outcome.FOUND
            if self.explored >= until:
                return Outcome.RUNNING
            if not self._descend():
                self._retreat()
        return Outcome.EXHAUSTED

    def linearization(self) -> list[int]:
        """Positions in the entries, after FOUND."""
        return replay(self.problem, self._choices[:-1]).linearization

    def configurations(self) -> tuple[Configuration, ...]:
        """What was possible at the deepest return event, the first few."""
        return tuple(decode(self.problem, self.deepest, snapshot) for snapshot in self._sample)

    def _descend(self) -> bool:
        """Go to the next child that is not known to fail; false when there is none left."""
        k, updates, pures, state = self._frames[-1]
        while (choice := self._next_choice(updates, state, self._choices[-1])) is not None:
            self._choices[-1] = choice
            self.explored += 1
            number, following = choice
            if number >= 0:
                child = updates | self.problem.bit[number]
            else:
                child = updates
                self._used[~number] += 1
            if self.guide is not None and self.guide.is_dead_end(self.window, child, pures, following, self.goal - 1):
                if number < 0:
                    self._used[~number] -= 1
                continue
            deeper = self._settle(child, pures | self.window.legal(following), following)
            if not self._is_hopeless(*deeper):
                self._push(*deeper)
                return True
            self._back_to(k)
            if number < 0:
                self._used[~number] -= 1
        return False

    def _next_choice(self, updates: int, state: int, last: Step | None) -> Step | None:
        """The choice after `last`, None when all were tried: the order is that of `Window.candidates`, then of the
        classes.
        """
        table, op, window = self.problem.table, self.problem.op, self.window
        if last is not None:
            number, followed = last
            after = table.following(state, op[number] if number >= 0 else self.problem.class_op[~number])
            later = after.index(followed) + 1
            while later < len(after):
                if number >= 0 or after[later] != state:
                    return number, after[later]
                later += 1
        if last is None or last[0] >= 0:
            candidates = window.candidates(updates)
            for number in candidates if last is None else candidates[bisect_right(candidates, last[0]) :]:
                if after := table.following(state, op[number]):
                    return number, after[0]
        first_class = 0 if last is None or last[0] >= 0 else ~last[0] + 1
        if first_class < len(self._used):
            for crashed in window.usable(updates):
                if crashed >= first_class and self._used[crashed] < window.available[crashed]:
                    for following in table.following(state, self.problem.class_op[crashed]):
                        if following != state:
                            return ~crashed, following
        return None

    def _settle(self, updates: int, pures: int, state: int) -> tuple[int, int, int, int]:
        """Move the window to the first return event whose operation is not linearized; the configuration there."""
        problem, window = self.problem, self.window
        while window.k < problem.size and window.is_done(updates, pures):
            if problem.is_pure[window.k]:
                pures &= ~problem.bit[window.k]
            else:
                updates &= ~problem.bit[window.k]
            window.forward()
            pures |= window.legal_since(state)
        return window.k, updates, pures, state

    def _push(self, k: int, updates: int, pures: int, state: int) -> None:
        if k > self.deepest:
            self.deepest = k
            self._sample = []
        if k == self.deepest and len(self._sample) < SAMPLE_SIZE:
            self._sample.append(Snapshot(updates, pures, state, tuple(self._used)))
        self._frames.append((k, updates, pures, state))
        self._choices.append(None)  # type: ignore[arg-type]

    def _retreat(self) -> None:
        """The top frame failed: remember it and return to its parent."""
        k, updates, pures, state = self._frames.pop()
        self._choices.pop()
        self._remember(k, updates, pures, state)
        if self._frames:
            self._back_to(self._frames[-1][0])
            number = self._choices[-1][0]
            if number < 0:
                self._used[~number] -= 1

    def _back_to(self, k: int) -> None:
        while self.window.k > k:
            self.window.backward()

    def _is_hopeless(self, k: int, updates: int, pures: int, state: int) -> bool:
        """Whether a configuration that dominates this one failed (rule 4)."""
        return any(
            pures & ~failed == 0 and all(map(int.__ge__, self._used, used))
            for failed, used in self._failed.get((k, updates, state), ())
        )

    def _remember(self, k: int, updates: int, pures: int, state: int) -> None:
        if self._remembered >= self.memory_max:
            self._failed.clear()
            self._remembered = 0
            self.forgot = True
        self._failed.setdefault((k, updates, state), []).append((pures, tuple(self._used)))
        self._remembered += 1
