"""What a user may set on a node of Multi-Paxos."""

from __future__ import annotations

from typing import Literal

import msgspec

CHUNK_CHARS_MAX = 262_144
"""Escaped as JSON, it is still far below what a node takes as one body."""


class MultiOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are on the node's own monotonic clock.

    phase_1_quorum, phase_2_quorum: sizes of the quorums; 0: a majority, or what the other leaves necessary (Flexible Paxos).
    reads: how a read is made linearizable. `round`: a quorum of phase 2 confirms that the leader still leads. `lease`: the leader
        answers alone while a quorum has promised it not to elect another. `log`: the read goes through the log.
    heartbeat_ms: between a leader's heartbeats. silence_ms_min, silence_ms_max: bounds of the random time after which a node that
        hears no leader stands for leader itself.
    lease_ms: how long each acceptor waits for the leader that it last heard before it promises anything to another.
    clock_drift_max: the bound under which leases are safe, whatever clocks show: none runs faster than 1 + clock_drift_max seconds
        a second, or slower than 1 / (1 + clock_drift_max).
    commands_per_message_max, messages_in_flight_max: how many commands an Accept carries, and how many Accepts a peer is sent
        before it has answered one.
    snapshot_entries: the node takes a snapshot after so many slots, or more when its state is large beside them; 0: never.
    snapshot_chunk_chars: how much of a snapshot one message carries.
    """

    phase_1_quorum: int = 0
    phase_2_quorum: int = 0
    reads: Literal["round", "lease", "log"] = "round"
    heartbeat_ms: int = 50
    silence_ms_min: int = 150
    silence_ms_max: int = 300
    lease_ms: int = 240
    clock_drift_max: float = 1.0
    commands_per_message_max: int = 64
    messages_in_flight_max: int = 4
    snapshot_entries: int = 1000
    snapshot_chunk_chars: int = 65_536

    def __post_init__(self) -> None:
        for name in ("heartbeat_ms", "commands_per_message_max", "messages_in_flight_max", "lease_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("phase_1_quorum", "phase_2_quorum"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 0, which means: as many as necessary"
                )
        if self.silence_ms_min <= self.heartbeat_ms:
            raise ValueError(
                f"silence_ms_min is {self.silence_ms_min}; it must exceed heartbeat_ms, {self.heartbeat_ms}"
            )
        if self.silence_ms_max < self.silence_ms_min:
            raise ValueError(f"silence_ms_max is {self.silence_ms_max}, below silence_ms_min, {self.silence_ms_min}")
        if not 0 <= self.clock_drift_max <= 100:
            raise ValueError(f"clock_drift_max is {self.clock_drift_max}; it must be from 0 to 100")
        if self.snapshot_entries < 0:
            raise ValueError(f"snapshot_entries is {self.snapshot_entries}; it must be at least 0, which means never")
        if not 1 <= self.snapshot_chunk_chars <= CHUNK_CHARS_MAX:
            raise ValueError(
                f"snapshot_chunk_chars is {self.snapshot_chunk_chars}; it must be from 1 to {CHUNK_CHARS_MAX}"
            )
