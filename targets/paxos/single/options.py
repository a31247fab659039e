"""What a user may set on a node of the single decree."""

from __future__ import annotations

import msgspec


class SingleOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """phase_1_quorum, phase_2_quorum: sizes of the quorums; 0: a majority, or what the other leaves necessary (Flexible Paxos).

    round_ms: a round that is not over after this is given up.
    backoff_ms_min, backoff_ms_max: bounds of the random pause before a proposer tries again. The upper bound of one pause doubles
        with each try, from backoff_ms_min up to backoff_ms_max: so of two proposers that rule each other out, one gets through.
    tries_max: after so many rounds a proposer tells its clients that it does not know.
    """

    phase_1_quorum: int = 0
    phase_2_quorum: int = 0
    round_ms: int = 100
    backoff_ms_min: int = 10
    backoff_ms_max: int = 320
    tries_max: int = 20

    def __post_init__(self) -> None:
        for name in ("round_ms", "backoff_ms_min", "tries_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("phase_1_quorum", "phase_2_quorum"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 0, which means: as many as necessary"
                )
        if self.backoff_ms_max < self.backoff_ms_min:
            raise ValueError(f"backoff_ms_max is {self.backoff_ms_max}, below backoff_ms_min, {self.backoff_ms_min}")
