"""outside.py with nodes that answer their status only while they reach the home node, as a system does whose status needs a
quorum; and one whose home runs and never serves again when it is started a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.tests.outside import OutsideTarget, ask_once
from targets.target import Place, Ports


class QuorumTarget(OutsideTarget):
    """Implements targets.target.Program."""

    name = "quorum"

    async def status(self, node: Ports) -> Mapping[str, Any]:
        if not (await ask_once(node["client"], "GET 0")).startswith(("VALUE", "UNSENT there is no table")):
            raise OSError("it does not reach the home node")
        return await super().status(node)


class SleepyTarget(OutsideTarget):
    """Implements targets.target.Program: a node that finds data of an earlier life sleeps for ever."""

    name = "sleepy"

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        has_lived = any(Path(place.data_dir).glob("*"))
        return ("sleep", "3600") if has_lived else super().argv(place, options, bugs)


TARGET = QuorumTarget()
SLEEPY = SleepyTarget()
