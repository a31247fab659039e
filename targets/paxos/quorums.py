"""All arithmetic of quorums. Pure.

Paxos needs only that each phase-1 quorum shares a member with each phase-2 quorum (Howard, Malkhi and Spiegelman, "Flexible Paxos",
2016, §3). Majorities are the case in which both have the same size.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from targets.paxos import bugs as zoo


class Quorums(msgspec.Struct, frozen=True):
    """How many members make a quorum of each phase.

    Invariant, but for planted bugs: phase_1 + phase_2 > members_count.
    """

    members_count: int
    phase_1: int
    phase_2: int

    @property
    def intersect(self) -> bool:
        """Whether each quorum of phase 1 shares a member with each of phase 2."""
        return self.phase_1 + self.phase_2 > self.members_count


def majority(members_count: int) -> int:
    """The least number of members such that any two groups of that size share a member."""
    return members_count // 2 + 1


def chosen_sizes(members_count: int, phase_1: int, phase_2: int) -> Quorums:
    """The quorums of these sizes; 0: a majority, or as many as the other phase's size leaves necessary, whichever is more.

    Raises ValueError, which names the option, for a size that the cluster does not have.
    """
    for name, size in (("phase_1_quorum", phase_1), ("phase_2_quorum", phase_2)):
        if not 0 <= size <= members_count:
            raise ValueError(
                f"{name} is {size}; a cluster of {members_count} has quorums of 1 to {members_count} nodes"
            )
    least = majority(members_count)
    first = phase_1 or max(least, members_count + 1 - (phase_2 or least))
    second = phase_2 or max(least, members_count + 1 - first)
    return Quorums(members_count, first, second)


def in_force(members_count: int, phase_1: int, phase_2: int, bugs: frozenset[str]) -> tuple[Quorums, Quorums]:
    """(the quorums that the options ask for, those that a node with these bugs counts).

    Raises ValueError for sizes that the cluster does not have, and for quorums that can miss each other where no bug wants that.
    """
    stated = chosen_sizes(members_count, phase_1, phase_2)
    if zoo.QUORUMS_THAT_MISS in bugs:
        fewer = max(1, min(stated.phase_1, members_count - stated.phase_2))
        return stated, Quorums(members_count, fewer, stated.phase_2)
    require_intersection(stated)
    if zoo.MINORITY_QUORUM in bugs:
        return stated, Quorums(members_count, stated.phase_1, max(1, min(stated.phase_2 - 1, members_count // 2)))
    return stated, stated


def require_intersection(quorums: Quorums) -> None:
    """Raises ValueError, which says what to change, when a phase-1 quorum can miss a phase-2 quorum."""
    if not quorums.intersect:
        raise ValueError(
            f"phase_1_quorum is {quorums.phase_1} and phase_2_quorum is {quorums.phase_2}; their sum must exceed the number of "
            f"nodes, {quorums.members_count}, or two values can be chosen"
        )


def reached_by(marks: Iterable[int], size: int) -> int:
    """The highest mark that `size` of the members, one mark each, have reached or passed."""
    return sorted(marks, reverse=True)[size - 1]
