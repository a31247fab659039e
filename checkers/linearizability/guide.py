"""Which configurations are dead ends, as far as the model can tell: no path from there lets every operation happen.

A pure operation that still has to happen needs a state in which it is possible. That state comes from the present one by
operations whose effect depends on the state (the model's `can_reach` thinks of those), or else some operation that is
not linearized yet, and is called before the pure one returns, leads to a state of its own (`leads_to`) from which it can
come. Where there is neither, the configuration has no completion, and leaving it out loses none.

The next few pure operations by return are looked at, which is where a wrong order shows first. `last` bounds them: a
prefix of the history up to some return event must not be judged by what returns later.
"""

from __future__ import annotations

from bisect import bisect_left

from checkers.linearizability.problem import Problem, Window

LOOKED_AT = 8
"""Pure operations that are looked at for each configuration. Wrong orders show at the next read or the one after it."""


class Guide:
    """For one problem. Native twin: guide.hpp."""

    def __init__(self, problem: Problem, landings: list[int]) -> None:
        """landings: as Table.landings."""
        self._problem = problem
        self._observations = [number for number in range(problem.size) if problem.is_pure[number]]
        self._first = [bisect_left(self._observations, k) for k in range(problem.size + 1)]
        self._opened = [0] * problem.size
        for k, called in enumerate(problem.calls):
            for number in called:
                if number >= 0:
                    self._opened[number] = k
        self._landing = [landings[op] for op in problem.op]
        self._crashed_landings = [landings[op] for op in problem.class_op if landings[op] >= 0]

    def is_dead_end(self, window: Window, updates: int, pures: int, state: int, last: int) -> bool:
        """Whether, at the window's return event, some pure operation up to return event `last` can never happen."""
        problem, k = self._problem, window.k
        if k == problem.size:
            return False
        first = self._first[k]
        for number in self._observations[first : first + LOOKED_AT]:
            if number > last:
                return False
            if self._opened[number] <= k and pures & problem.bit[number]:
                continue
            op = problem.op[number]
            if not problem.table.can_reach(state, op) and not self._has_source(window, updates, number):
                return True
        return False

    def _has_source(self, window: Window, updates: int, observation: int) -> bool:
        """Whether an operation that is not linearized may lead to what the observation saw."""
        problem, table = self._problem, self._problem.table
        op = problem.op[observation]

        def leads(number: int) -> bool:
            return self._landing[number] >= 0 and table.can_reach(self._landing[number], op)

        if any(not updates & problem.bit[number] and leads(number) for number in window.updates):
            return True
        for k in range(window.k + 1, observation + 1):
            if any(number >= 0 and leads(number) for number in problem.calls[k]):
                return True
        return any(table.can_reach(state, op) for state in self._crashed_landings)
