"""A short fuzz of every route of a node, always with the same inputs; `python -m harness.tests.fuzzing route:NAME` is longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.tests.fuzzing import routes
from harness.tests.fuzzing.route_kinds import COMMANDS, kinds, unfuzzed
from targets import machine_registry

pytestmark = pytest.mark.real


def test_every_route_of_every_target_is_fuzzed() -> None:
    assert not unfuzzed()


def test_the_client_route_of_every_machine_is_fuzzed() -> None:
    assert COMMANDS.keys() == machine_registry.BUILT_IN.keys()


@pytest.mark.parametrize("kind", kinds())
def test_a_node_answers_in_words_and_lives_on(kind: str, tmp_path: Path) -> None:
    assert asyncio.run(routes.fuzz(kind, range(60), tmp_path))[0] == 60


@pytest.mark.parametrize("kind", kinds())
def test_what_is_mutated_is_taken(kind: str, tmp_path: Path) -> None:
    async def statuses() -> list[bytes]:
        async with routes.serving(kinds()[kind], tmp_path) as (_, _, port):
            return [(await routes.exchange(port, text))[9:12] for text in kinds()[kind].examples]

    assert set(asyncio.run(statuses())) <= {b"200", b"204"}
