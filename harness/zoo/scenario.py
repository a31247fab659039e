"""What the files of the zoo consist of."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from harness.spec import RunSpec


class Scenario(msgspec.Struct, frozen=True):
    """name: unique in its file. why: what it is for. base: its runs, but for bug and seed."""

    name: str
    why: str
    base: RunSpec

    def spec(self, seed: int, *bugs: str) -> RunSpec:
        """The run of one seed."""
        return replace(self.base, seed=seed, bugs=bugs)


class Planted(msgspec.Struct, frozen=True):
    """One bug of one target, and where it shows.

    seed: a seed of the scenario that finds it. A change of what any component draws makes another sweep necessary. by: the checker
    that finds it there; "" where any may.
    """

    bug: str
    seed: int
    scenario: Scenario
    by: str = ""

    @property
    def target(self) -> str:
        return self.scenario.base.target

    def spec(self, seed: int | None = None) -> RunSpec:
        """The run of `seed`, or of the one that finds the bug."""
        return self.scenario.spec(self.seed if seed is None else seed, self.bug)
