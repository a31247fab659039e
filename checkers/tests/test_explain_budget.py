"""An explanation keeps to its time: what is not done is left out, and the evidence says so."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from checkers.evidence import Linearizability, Refutation
from checkers.linearizability import Cancellation, linearizable, possible, search
from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.linearizability.encode import entries
from checkers.linearizability.explain import explain, explanation_s
from checkers.linearizability.possible import possibilities
from checkers.linearizability.refutation import TooMany, failing_return
from checkers.linearizability.search import CHUNK_MIN, CHUNK_NS, next_chunk
from checkers.linearizability.wording import WORDS_MAX, in_words, shortened
from checkers.models.model import Operation, State
from checkers.models.register import Register
from checkers.models.registry import find
from checkers.verdict import Validity
from histories.builder import h

STALE = h("p0 invoke write 1 | p0 ok write 1 | p0 invoke write 2 | p0 ok write 2 | p1 invoke read | p1 ok read 1")


def test_an_explanation_takes_two_seconds_more_than_the_decision_and_never_more_than_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # The limit that users have, not the one of these tests.
    assert explanation_s(3.0, None) == 5.0
    assert explanation_s(3.0, 100.0) == 5.0
    assert explanation_s(3.0, 4.0) == 1.0
    assert explanation_s(3.0, 2.0) == 0.0


def test_a_deadline_passes_or_never_does() -> None:
    never, over = Deadline(), Deadline(0.0)
    assert never.left_s() is None
    assert not never.is_over()
    assert never.share(0.5).left_s() is None
    assert over.left_s() == 0.0
    assert over.is_over()
    left_s = Deadline(1000.0).share(0.5).left_s()
    assert left_s is not None
    assert 400 < left_s <= 500
    never.require()
    with pytest.raises(OutOfTime):
        over.require()


def explained(time_limit_s: float | None, core: tuple[int, ...] = ()) -> Refutation:
    part = entries(STALE)
    result = search(part, Register())
    return explain(STALE, part, Register(), replace(result, core=core), time_limit_s=time_limit_s)


def test_without_time_the_failing_operation_is_named_all_the_same() -> None:
    evidence = explained(0.0)
    assert evidence.failed.invoke == 4
    assert "returned 1" in evidence.reason
    assert not evidence.error
    assert evidence.minimal is None
    assert evidence.unfinished == "the time ended before a short core was found"


def test_without_time_a_core_that_is_known_is_told_as_it_is() -> None:
    evidence = explained(0.0, core=(0, 1, 2))
    assert evidence.minimal is not None
    assert [operation.invoke for operation in evidence.minimal.operations] == [0, 2, 4]
    assert not evidence.minimal.is_minimal
    assert evidence.minimal.limit == "the time for the explanation ended"
    assert evidence.minimal.confirmed_by == "nothing else: the time ended"


def test_a_core_that_is_known_is_reduced_and_confirmed() -> None:
    evidence = explained(None, core=(0, 1, 2))
    assert evidence.minimal is not None
    assert [operation.invoke for operation in evidence.minimal.operations] == [2, 4]
    assert evidence.minimal.is_minimal
    assert evidence.minimal.confirmed_by == "brute force"
    assert "the register holds 2" in evidence.reason


def test_a_core_that_is_none_is_never_confirmed() -> None:
    """The refutation stands, but whoever reads it learns that something is wrong."""
    assert "brute force linearizes" in explained(None, core=(0, 2)).error


def test_a_time_limit_leaves_none_for_the_explanation() -> None:
    verdict = linearizable(STALE, Register(), time_limit_s=1000.0)
    assert verdict.validity is Validity.INVALID
    assert isinstance(verdict.evidence, Linearizability)
    assert verdict.evidence.refuted[0].minimal is not None


def test_the_second_algorithm_stops_in_time() -> None:
    with pytest.raises(TooMany, match="the time ended"):
        failing_return(entries(STALE), Register(), deadline=Deadline(0.0))


def test_states_are_left_out_rather_than_held(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = " | ".join(f"p{i} invoke append {i}" for i in range(1, 6))
    history = h(f"{opened} | p9 invoke read | p9 ok read [9]")
    part, model = entries(history), find("list-append")
    result = search(part, model)
    assert possibilities(part, model, result).is_complete is False  # 326 states, of which 50 are kept.
    assert len(possibilities(part, model, result).states) == possible.STATES_MAX
    monkeypatch.setattr(possible, "CELLS_MAX", 20)
    few = possibilities(part, model, result)
    assert not few.is_complete
    assert 0 < len(few.states) < 10


def test_long_values_are_shortened_before_they_are_words() -> None:
    assert shortened((1, 2, 3)) == (1, 2, 3)
    assert shortened(tuple(range(100)), items_max=4) == [0, 1, "… 96 more …", 98, 99]
    assert shortened([[1, 2, 3]], items_max=2) == [[1, "… 1 more …", 3]]
    assert shortened("abcdefgh", characters_max=4) == "ab… 4 more characters …gh"
    assert len(shortened(frozenset(range(100)), items_max=4)) == 5
    assert shortened(None) is None
    assert len(in_words(tuple(range(1_000_000)))) < 2 * WORDS_MAX


class Unwanted(Register):
    """A model that must not be asked."""

    def initial(self) -> State:
        raise AssertionError("nothing is searched any more")

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        raise AssertionError("nothing is searched any more")


def test_a_key_is_not_begun_after_another_was_refuted() -> None:
    stop = Cancellation()
    stop.cancel("key 1 was refuted")
    result = search(entries(STALE), Unwanted(), stop=stop)
    assert result.validity is Validity.UNKNOWN
    assert result.reason == "key 1 was refuted"


def test_the_clock_is_looked_at_more_often_where_configurations_are_dear() -> None:
    assert next_chunk(1 << 10, took_ns=CHUNK_NS * 8, chunk_max=1 << 15) == 1 << 7
    assert next_chunk(1 << 10, took_ns=CHUNK_NS * 10_000, chunk_max=1 << 15) == CHUNK_MIN
    assert next_chunk(1 << 10, took_ns=CHUNK_NS // 2, chunk_max=1 << 15) == 1 << 10
    assert next_chunk(1 << 10, took_ns=1, chunk_max=1 << 15) == 1 << 11
    assert next_chunk(1 << 15, took_ns=1, chunk_max=1 << 15) == 1 << 15
