"""What both searches share: the history in order of its return events, and the window of operations open at one of
them.

The frontier k stands before the k-th return event whose operation is not linearized yet. Completed operations are named
by the number of their return event, so a smaller number is an earlier deadline, and the head of a sorted window must
return first.

Operations that never change a state are *pure* (reads, refused cas), the others are *updates*. Each kind has its own
slots: one is taken at the call and given back at the return, so a bit mask is as wide as the concurrency and not as the
history.

Crashed operations have no return and take no slot. Those with equal effects form a class. Pure ones are left out.

Rules that both searches follow. "Completion" means: linearizations that lead from a configuration past the return event
in question. Each rule keeps at least one completion wherever there is one, so by induction over the steps left none is
lost.

1. *Eager.* A pure operation that is open and legal is linearized at once. In any completion, move it to the front: it
   is legal there, it is open, and no other step sees a different state, for it changed none where it stood. (A write of
   the value that is already there does not qualify: at its later place it may be what hides another write.)
2. *Twins.* Of the open updates with equal effects only the one that returns first is tried. If a completion starts with
   the later one, exchange the two: both are open here, and the earlier one's deadline is kept. If the completion leaves
   the earlier one out, its return lies beyond, and so does the later one's; use the earlier one instead.
3. *Crashed last.* A crashed operation is not tried while an open update with equal effects is not linearized (exchange
   them as in 2; a crashed one has no deadline at all), nor where it does not change the state.
4. *Dominance.* Of two configurations with the same frontier, linearized updates and state, one that has linearized at
   least the same pure operations and used at most as many crashed ones of every class can follow any completion of the
   other: it skips the pure operations that it has behind it, which changed no state, and has every crashed operation
   that the other has left, because those of a class are interchangeable once called.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from checkers.linearizability.encode import Entries
from checkers.linearizability.table import Table


class Problem:
    """One key's history, numbered by return events.

    entry[r], op[r]: position in the entries and operation of the r-th completed operation to return.
    bit[r]: its slot's bit, among the slots of its kind. calls[k]: what is called after return k - 1 and before return
    k, in order: r for a completed operation, ~c for a crashed one of class c.
    class_op[c], class_entries[c]: an operation of the class, and the positions of all, in order of their calls.
    width: slots of the kind that needs more.
    """

    def __init__(self, entries: Entries, table: Table, op: Sequence[int]) -> None:
        """op: the operation of each entry, in the table's numbers."""
        self.table = table
        self.entry = entries.returns
        self.size = len(self.entry)
        self.op = [op[position] for position in self.entry]
        self.is_pure = [table.is_pure[number] for number in self.op]
        self.group = [table.group[number] for number in self.op]
        self.bit = [0] * self.size
        self.calls: list[list[int]] = [[] for _ in range(self.size + 1)]
        self.class_op: list[int] = []
        self.class_entries: list[list[int]] = []
        self.width = self._number(entries, op)

    def _number(self, entries: Entries, op: Sequence[int]) -> int:
        number_of = [-1] * len(entries)
        for number, position in enumerate(self.entry):
            number_of[position] = number
        class_of: dict[int, int] = {}
        free: tuple[list[int], list[int]] = ([], [])
        width = [0, 0]
        k = 0
        for position in range(len(entries)):
            while k < self.size and entries.end[self.entry[k]] < entries.call[position]:
                free[self.is_pure[k]].append(self.bit[k])
                k += 1
            number = number_of[position]
            if number >= 0:
                kind = self.is_pure[number]
                if not free[kind]:
                    free[kind].append(1 << width[kind])
                    width[kind] += 1
                self.bit[number] = free[kind].pop()
                self.calls[k].append(number)
            elif not self.table.is_pure[op[position]]:
                group = self.table.group[op[position]]
                crashed = class_of.setdefault(group, len(class_of))
                if crashed == len(self.class_op):
                    self.class_op.append(op[position])
                    self.class_entries.append([])
                self.class_entries[crashed].append(position)
                self.calls[k].append(~crashed)
        return max(width)

    def class_group(self, crashed: int) -> int:
        """The group of a class's operations."""
        return self.table.group[self.class_op[crashed]]


class Window:
    """The operations open at return event k; moves by one event in either direction.

    updates, pures: completed operations that are open, in order of their returns. available[c]: crashed ones called so
    far.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.k = -1
        self.updates: list[int] = []
        self.pures: list[int] = []
        self.available = [0] * len(problem.class_op)
        self._call()

    def forward(self) -> None:
        """To the next return event: operation k is closed, and what is called before the next return is open."""
        (self.pures if self.problem.is_pure[self.k] else self.updates).pop(0)
        self._call()

    def _call(self) -> None:
        self.k += 1
        for called in self.problem.calls[self.k]:
            if called < 0:
                self.available[~called] += 1
            else:
                insort(self.pures if self.problem.is_pure[called] else self.updates, called)

    def backward(self) -> None:
        """Undo the last `forward`."""
        for called in self.problem.calls[self.k]:
            if called < 0:
                self.available[~called] -= 1
            else:
                opened = self.pures if self.problem.is_pure[called] else self.updates
                del opened[bisect_left(opened, called)]
        self.k -= 1
        (self.pures if self.problem.is_pure[self.k] else self.updates).insert(0, self.k)

    def legal(self, state: int) -> int:
        """The mask of the open pure operations that are legal in the state."""
        return self.legal_of(self.pures, state)

    def legal_since(self, state: int) -> int:
        """The same for those called since the last return event."""
        return self.legal_of(self.problem.calls[self.k], state)

    def legal_of(self, numbers: Sequence[int], state: int) -> int:
        """The mask of those of the operations that are pure and legal in the state."""
        problem, mask = self.problem, 0
        for number in numbers:
            if number >= 0 and problem.is_pure[number] and problem.table.following(state, problem.op[number]):
                mask |= problem.bit[number]
        return mask

    def is_done(self, updates: int, pures: int) -> bool:
        """Whether operation k is in the masks."""
        mask = pures if self.problem.is_pure[self.k] else updates
        return bool(mask & self.problem.bit[self.k])

    def candidates(self, updates: int) -> list[int]:
        """The open updates that may be tried (rule 2), the one that returns first in front."""
        problem = self.problem
        tried: set[int] = set()
        found = []
        for number in self.updates:
            if not updates & problem.bit[number] and problem.group[number] not in tried:
                tried.add(problem.group[number])
                found.append(number)
        return found

    def usable(self, updates: int) -> list[int]:
        """The crashed classes that may be tried (rule 3); whether one has operations left is for the caller to ask."""
        problem = self.problem
        waiting = {problem.group[number] for number in self.updates if not updates & problem.bit[number]}
        return [c for c, called in enumerate(self.available) if called and problem.class_group(c) not in waiting]
