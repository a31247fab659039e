"""Evidence that the system did not serve again when the last fault had been lifted."""

from __future__ import annotations

from checkers.evidence.kind import Kind


class Recovery(Kind, frozen=True, tag="recovery"):
    """reasons: what did not recover, in words. unhealed: ids of the faults that were not seen to end. silent_by_node: how many
    of the run's last ops got no answer, by the node that was asked."""

    reasons: tuple[str, ...]
    unhealed: tuple[str, ...]
    silent_by_node: dict[str, int]
