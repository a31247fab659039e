"""Raft must not lose a write to its disk, or send what has to wait for one, without the simulation seeing it. Minutes."""

from __future__ import annotations

import msgspec
import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.spec import RunSpec
from harness.tests import mutants
from harness.zoo.raft import STANDARD

PLACES = list(enumerate(mutants.places()))
SEEDS = range(1, 201)
WITHOUT_MESSAGE = ("_adopt_term", "_append_own")
"""What these write is the last thing of its step: there is nothing to change places with."""
WITHOUT_NEED = ("_persist_snapshot",)
"""The message behind what these write promises nothing that is theirs alone to keep. A snapshot holds what a majority had made
durable before it was sent: a node that acknowledges one and forgets it breaks no promise, and its leader begins anew."""
SNAPSHOTS = {"snapshot_entries": 20, "snapshot_chunk_chars": 64}
"""So that a short run sends many snapshots, each in several chunks."""


def standard(kind: str, number: int) -> RunSpec:
    options = {**STANDARD.target_options, **(SNAPSHOTS if PLACES[number][1][0] == "_persist_snapshot" else {})}
    return msgspec.structs.replace(STANDARD, target=f"{mutants.__name__}:{kind}_{number}", target_options=options)


def found(spec: RunSpec) -> sweep.SeedResult:
    """The first seed that is not VALID; else the last."""
    *_, last = sweep.sweep(spec, SEEDS, fail_fast=True)
    return last


@pytest.mark.long
@pytest.mark.parametrize(("number", "place"), PLACES)
def test_a_write_that_is_left_out_is_found(number: int, place: tuple[str, str]) -> None:
    result = found(standard("removed", number))
    assert result.validity is Validity.INVALID, place


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "place"), [item for item in PLACES if item[1][0] not in WITHOUT_MESSAGE + WITHOUT_NEED]
)
def test_a_write_behind_the_message_that_should_wait_for_it_is_found(number: int, place: tuple[str, str]) -> None:
    result = found(standard("swapped", number))
    assert result.validity is Validity.INVALID, place


@pytest.mark.long
@pytest.mark.parametrize(("number", "place"), [item for item in PLACES if item[1][0] in WITHOUT_NEED])
def test_a_write_that_no_message_needs_breaks_nothing_behind_it(number: int, place: tuple[str, str]) -> None:
    results = sweep.sweep(standard("swapped", number), range(1, 21))
    assert {result.seed: result.reason for result in results if result.validity is not Validity.VALID} == {}, place


@pytest.mark.parametrize(("number", "place"), [item for item in PLACES if item[1][0] in WITHOUT_MESSAGE])
def test_where_no_message_stands_behind_a_write_a_swap_is_none(number: int, place: tuple[str, str]) -> None:
    short = {"time_limit_s": 10.0, "seed": 1}
    mutant = sweep.run_seed(msgspec.structs.replace(standard("swapped", number), **short), with_digests=True)
    healthy = sweep.run_seed(msgspec.structs.replace(STANDARD, **short), with_digests=True)
    assert mutant.trace_digest == healthy.trace_digest, place


def test_every_place_of_the_core_is_one_to_break() -> None:
    assert [function for _, (function, _) in PLACES] == [
        "_on_request_vote",
        "_vote",
        "_adopt_term",
        "_follow",
        "_append_own",
        "_store",
        "_truncate",
        "_persist_snapshot",
    ]
