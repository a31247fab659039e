"""What a person may set about the simulated world: all typed, all with defaults that resemble one data centre."""

from __future__ import annotations

import math
import random
from typing import Literal

import msgspec

from harness.environments.sim.delays import DelayShape

DELAYS_MS = (0.5, 1.0, 1.0, 2.0)
FSYNCS_MS = (0.5, 1.0, 2.0, 5.0, 12.0)
"""From a fast solid-state disk to a spinning one."""


class SimOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `sim` (`--env-option NAME=VALUE`).

    transport: datagram (lossy, unordered) or stream (like TCP: ordered on each link, held during a cut and afterwards delivered or
        reset, a lost packet is sent again late).
    delay, delay_ms_min, delay_ms_mean: one-way delay between nodes: its shape, the least and the mean; without a mean, the seed
        draws one of DELAYS_MS. client_delay_ms: the mean between a client and a node, same shape.
    link_delay_ms: mean for single links, such as {"n1>n2": 40}.
    loss, duplicate, reorder, corrupt: probabilities on every link for the whole run, beside what faults do.
    fsync_ms_min, fsync_ms_mean: how long a sync of the disk takes; without a mean, the seed draws one of FSYNCS_MS: on slow
        hardware other moments are long enough for a fault to hit them.
    slow_nodes_ms: node -> time that each event costs it, such as {"n3": 5}; a node takes none otherwise.
    kill_inside_step: probability that a kill waits some ms to land between two effects of a step.
    liveness_s: after the run, how long a healed cluster may take to serve again and converge; 0 asks for nothing.
    invariants: watch the protocol invariants while it runs. unwatched: those of them that are not, by name: what breaks one at
        once may break another later, or show to clients. trace: keep trace.jsonl. messages: keep messages.jsonl.
    past_violation_s: how long the run goes on after a broken invariant, before it heals and ends; 0: it ends there. It shows
        what clients see of the damage.
    """

    transport: Literal["datagram", "stream"] = "datagram"
    delay: DelayShape = "exponential"
    delay_ms_min: float = 0.3
    delay_ms_mean: float | None = None
    client_delay_ms: float = 0.8
    link_delay_ms: dict[str, float] = {}
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    fsync_ms_min: float = 0.2
    fsync_ms_mean: float | None = None
    slow_nodes_ms: dict[str, float] = {}
    kill_inside_step: float = 0.7
    liveness_s: float = 15.0
    invariants: bool = True
    unwatched: tuple[str, ...] = ()
    trace: bool = True
    messages: bool = False
    past_violation_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "corrupt", "kill_inside_step"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value:g} is no probability (0 to 1)")
        times = {
            name: getattr(self, name) for name in ("delay_ms_min", "fsync_ms_min", "liveness_s", "past_violation_s")
        }
        times |= {f"slow_nodes_ms {node}": value for node, value in self.slow_nodes_ms.items()}
        for name, value in times.items():
            if not (math.isfinite(value) and 0 <= value <= 3_600_000):
                raise ValueError(f"{name}: {value:g} is not between 0 and 3600000")
        means: dict[str, float | None] = {
            name: getattr(self, name) for name in ("delay_ms_mean", "client_delay_ms", "fsync_ms_mean")
        }
        means |= {f"link_delay_ms {link}": value for link, value in self.link_delay_ms.items()}
        for name, value in means.items():
            if value is not None and not (math.isfinite(value) and 0 < value <= 3_600_000):
                raise ValueError(f"{name}: {value:g} is not between 0 (excluded) and 3600000")
        for kind in ("delay", "fsync"):
            least, mean = getattr(self, f"{kind}_ms_min"), getattr(self, f"{kind}_ms_mean")
            if mean is not None and least > mean:
                raise ValueError(f"{kind}_ms_min: {least:g} is greater than {kind}_ms_mean, {mean:g}")

    def drawn(self, rng: random.Random) -> SimOptions:
        """The same options with every mean that was left to the seed drawn from `rng`."""
        delay_ms, fsync_ms = rng.choice(DELAYS_MS), rng.choice(FSYNCS_MS)
        return msgspec.structs.replace(
            self,
            delay_ms_mean=max(delay_ms, self.delay_ms_min) if self.delay_ms_mean is None else self.delay_ms_mean,
            fsync_ms_mean=max(fsync_ms, self.fsync_ms_min) if self.fsync_ms_mean is None else self.fsync_ms_mean,
        )
