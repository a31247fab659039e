"""A counterexample is true, short, confirmed by another algorithm, and says in words what happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import brute
from checkers.evidence import MinimalCore, Refutation
from checkers.linearizability.encode import Entry, columns, entries
from checkers.linearizability.explain import WHOLE_MAX, explain
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.possible import possibilities
from checkers.linearizability.reduce import forgetting_reset, is_unnoticed, prefix, reduce, weakened
from checkers.linearizability.refutation import TooMany, failing_return
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import search
from checkers.models.model import Model, Operation, State
from checkers.models.register import Register
from checkers.models.registry import find, names
from checkers.tests.random_histories import histories, random_history, seeded
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op


def explained(history: History, name: str, *, refused: bool = False) -> Refutation:
    model = find(name)
    part = entries(history, refused=refused)
    result = search(part, model, core="pure")
    assert result.validity is Validity.INVALID
    return explain(history, part, model, result, pure_search)


def pure_search(rest: Sequence[Entry], model: Model, states_max: int, time_limit_s: float | None) -> SearchResult:
    return search(rest, model, states_max=states_max, time_limit_s=time_limit_s, core="pure")


def core(evidence: Refutation) -> MinimalCore:
    assert evidence.minimal is not None
    return evidence.minimal


def invoked(evidence: Refutation) -> list[int]:
    return [operation.invoke for operation in core(evidence).operations]


STALE = History(
    [
        Op(0, 11_100_000_000, "invoke", 0, "write", 3, 7),
        Op(1, 11_200_000_000, "ok", 0, "write", 3, 7, node="n1"),
        Op(2, 12_000_000_000, "invoke", 2, "read", 3, None),
        Op(3, 12_010_000_000, "ok", 2, "read", 3, 7, node="n1"),
        Op(4, 12_300_000_000, "invoke", 1, "write", 3, 9),
        Op(5, 12_301_000_000, "ok", 1, "write", 3, 9, node="n1"),
        Op(6, 12_340_000_000, "invoke", 4, "read", 3, None),
        Op(7, 12_345_000_000, "ok", 4, "read", 3, 7, node="n2"),
    ]
)


def test_a_stale_read_in_words() -> None:
    assert explained(STALE, "register").reason == (
        "read of key 3 by process 4 (n2) returned 7, which nothing from 12.340 s to 12.345 s allows; "
        "the only state left by then: the register holds 9 (write 9 by process 1 (n1), acknowledged at 12.301 s); "
        "it would have fitted after write 7 by process 0 (n1), acknowledged at 11.200 s"
    )


def test_a_stale_read_as_data() -> None:
    evidence = explained(STALE, "register")
    assert evidence.key == 3
    assert evidence.failed.invoke == 6
    assert evidence.failed.node == "n2"
    assert [state.state for state in evidence.possible] == [9]
    assert evidence.possible[0].because == "the register holds 9, but read returned 7"
    assert evidence.possible[0].after is not None
    assert evidence.possible[0].after.invoke == 4
    assert evidence.fits_after is not None
    assert evidence.fits_after.invoke == 0
    assert invoked(evidence) == [4, 6]
    assert core(evidence).confirmed_by == "brute force"
    assert core(evidence).is_minimal


WRITTEN = "p0 invoke write 1 | p0 ok write 1 | "
REASONS = [
    ("register", WRITTEN + "p1 invoke read | p1 ok read nil", "it would have fitted before any of them"),
    ("register", WRITTEN + "p1 invoke read | p1 ok read 8", "no operation before its return leads to a state that"),
    (
        "register",
        WRITTEN + "p1 invoke write 2 | p1 info write 2 | p0 invoke read | p0 ok read 3",
        "the states left by then",
    ),
    ("cas-register", "p0 invoke cas [1,2] | p0 ok cas [1,2]", "cas [1, 2] by process 0 succeeded"),
    ("mutex", "p0 invoke acquire a | p0 ok acquire | p1 invoke acquire b | p1 ok acquire", "the lock is held by 'a'"),
    ("fifo-queue", "p0 invoke enqueue 1 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue nil", "1 returned None"),
]


@pytest.mark.parametrize(("name", "text", "words"), REASONS)
def test_reasons(name: str, text: str, words: str) -> None:
    assert words in explained(h(text), name).reason


@pytest.mark.parametrize(
    ("name", "text", "after"),
    [
        (
            "counter",
            "p0 invoke add 3 | p0 ok add 3 | p1 invoke add -2 | p1 ok add -2 | p1 invoke read | p1 ok read 3",
            "add 3 by process 0",
        ),
        (
            "fifo-queue",
            "p0 invoke enqueue 1 | p0 ok enqueue | p0 invoke enqueue 2 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue 1 | "
            "p0 invoke enqueue 3 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue 2 | p0 invoke peek | p0 ok peek 2",
            "enqueue 3 by process 0",
        ),
    ],
)
def test_where_it_would_have_fitted_is_a_moment_that_was(name: str, text: str, after: str) -> None:
    """What an update leads to depends on what was before: -2 leads to 3 from 5, but there was no 5."""
    assert f"; it would have fitted after {after}, acknowledged" in explained(h(text), name).reason


def by_its_monitor(text: str, name: str = "register") -> Refutation:
    history = h(text)
    part = entries(history)
    result = decide(columns(part), find(name))
    assert result.validity is Validity.INVALID
    assert result.core
    return explain(history, part, find(name), result)


def writes(last: int) -> str:
    return "".join(f"p0 invoke write {i} | p0 ok write {i} | " for i in range(1, last + 1))


def test_what_a_monitor_refuted_is_told_of_the_whole_history() -> None:
    """Its core is two operations, neither of which is the write of the stale value."""
    stale = by_its_monitor(writes(9) + "p1 invoke read | p1 ok read 4").reason
    assert "; the only state left by then: the register holds 9 (write 9 by process 0, acknowledged at" in stale
    assert "; it would have fitted after write 4 by process 0" in stale
    unheard = by_its_monitor(writes(9) + "p1 invoke read | p1 ok read 11").reason
    assert "the register holds 9" in unheard
    assert unheard.endswith("no operation before its return leads to a state that allows it")


def test_what_a_monitor_refuted_in_a_long_history_is_told_of_some_operations_and_says_so() -> None:
    stale = by_its_monitor(writes(WHOLE_MAX) + "p1 invoke read | p1 ok read 4")
    assert re.search(
        "; of the [23] operations that refute it, the only state left by then: the register holds", stale.reason
    )
    assert "it would have fitted after write 4 by process 0" in stale.reason
    assert stale.failed.invoke == 2 * WHOLE_MAX
    unheard = by_its_monitor(writes(WHOLE_MAX) + "p1 invoke read | p1 ok read 0").reason
    assert unheard.endswith("; by itself alone, the only state left by then: the register holds nothing (None)")


def test_a_refused_operation_is_told_as_one() -> None:
    history = h("p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [1,3] | p0 fail cas [1,3]")
    assert "cas [1, 3] by process 0 was refused" in explained(history, "cas-register", refused=True).reason


def test_open_operations_count_among_the_possible_states() -> None:
    """The write is open when the read returns, so the register may hold 5, too."""
    history = h("p0 invoke write 1 | p0 ok write 1 | p1 invoke write 5 | p2 invoke read | p2 ok read 3 | p1 ok write 5")
    assert sorted(state.state for state in explained(history, "register").possible) == [1, 5]


def stale_at_the_end(count: int, seed: int = 1) -> History:
    """A register that five clients use one after another, and a read at the end of what was overwritten long ago."""
    rng = Random(seed)
    ops: list[Op] = []
    value = -1
    for i in range(count):
        f = rng.choice(["read", "write"])
        value = i if f == "write" else value
        for type_ in ("invoke", "ok"):
            seen = None if type_ == "invoke" and f == "read" else value
            ops.append(Op(len(ops), len(ops) * 1000, type_, i % 5, f, None, seen if i else -1))
        if i == 0:
            ops = [Op(0, 0, "invoke", 0, "write", None, -1), Op(1, 1, "ok", 0, "write", None, -1)]
            value = -1
    ops.append(Op(len(ops), len(ops) * 1000, "invoke", 1, "read"))
    ops.append(Op(len(ops), len(ops) * 1000, "ok", 1, "read", None, -1))
    return History(ops)


def test_of_a_long_history_two_operations_are_left() -> None:
    evidence = explained(stale_at_the_end(2_000), "register")
    operations = core(evidence).operations
    assert [operation.f for operation in operations] == ["write", "read"]
    assert core(evidence).cut_count > 1_900
    assert evidence.fits_after is not None
    assert evidence.fits_after.invoke == 0


def test_of_a_queue_only_the_values_that_matter_are_left() -> None:
    rounds = [f"p0 invoke enqueue {v} | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue {v}" for v in range(1, 80)]
    wrong = [f"p0 invoke enqueue {v} | p0 ok enqueue" for v in (91, 92, 93)]
    wrong += [f"p1 invoke dequeue | p1 ok dequeue {v}" for v in (92, 93, 91)]
    operations = core(explained(h(" | ".join(rounds + wrong)), "fifo-queue")).operations
    assert [(each.f, each.argument, each.result) for each in operations] == [
        ("enqueue", 91, None),
        ("enqueue", 92, None),
        ("dequeue", None, 92),
    ]


@pytest.mark.parametrize("name", names())
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_minimal_history_is_refuted_by_brute_force(name: str, data: st.DataObject) -> None:
    history = data.draw(histories(name))
    check_explanation(name, history)


@pytest.mark.parametrize("name", names())
def test_the_minimal_history_is_refuted_by_brute_force_for_many_seeds(name: str) -> None:
    refuted = sum(check_explanation(name, random_history(name, seeded(seed))) for seed in range(40))
    assert refuted >= 1


def check_explanation(name: str, history: History) -> bool:
    """Whether the history is not linearizable; if so, its explanation holds."""
    model = find(name)
    part = entries(history, refused=True)
    if brute.linearization(part, model) is not None:
        return False
    evidence = explained(history, name, refused=True)
    assert not evidence.error, evidence.error
    by_call = {entry.invoke_index: entry for entry in part}
    operations = core(evidence).operations
    left = [
        weakened(by_call[operation.invoke]) if operation.is_optional else by_call[operation.invoke]
        for operation in operations
    ]
    assert brute.linearization(left, model) is None
    assert evidence.failed.invoke in [operation.invoke for operation in operations]
    failed = by_call[evidence.failed.invoke]
    assert evidence.possible
    for state in evidence.possible:
        assert failed.operation.f in state.because
    assert evidence.is_shortest
    before = prefix(part, list(by_call.values()).index(failed))
    without = [entry for entry in before if entry.call != failed.call]
    assert brute.linearization(without, model) is not None or any(e.ret > failed.ret for e in part)
    return True


def states_before(part: Sequence[Entry], failed: Entry, model: Model) -> set[State]:
    """The states possible just before `failed` returns, it aside: by trying every order."""
    before = [entry for entry in part if entry.call < failed.ret and entry.call != failed.call]
    must = [entry for entry in before if 0 <= entry.ret < failed.ret]
    found: set[State] = set()

    def extend(state: State, left: list[Entry]) -> None:
        if not any(entry in must for entry in left):
            found.add(state)
        for entry in left:
            if not any(0 <= other.ret < entry.call for other in left):
                for after in model.step(state, entry.operation):
                    extend(after, [other for other in left if other != entry])

    extend(model.initial(), before)
    return found


@pytest.mark.parametrize("name", names())
def test_the_states_left_are_exactly_those_possible(name: str) -> None:
    model, refuted = find(name), 0
    for seed in range(20):
        part = entries(random_history(name, seeded(seed), ops_max=6), refused=True)
        result = search(part, model)
        if result.failed_at is None:
            continue
        refuted += 1
        found = possibilities(part, model, result)
        assert found.is_complete
        assert {each.state for each in found.states} == states_before(part, part[result.failed_at], model), seed
    assert refuted > 0


@pytest.mark.parametrize("name", names())
def test_removing_what_nobody_notices_keeps_the_verdict(name: str) -> None:
    """Each single removal that is called proven, against the definition: legal with it, legal without it."""
    model, removed = find(name), 0
    for seed in range(80):
        part = entries(random_history(name, seeded(seed), ops_max=6), refused=True)[:]
        for entry in part:
            rest = [other for other in part if other != entry]
            if is_unnoticed(entry, rest, model, forgetting_reset(entry, rest, model)):
                removed += 1
                assert brute.linearization(part, model) is None or brute.linearization(rest, model) is not None
    assert removed > 3


@pytest.mark.parametrize("name", ["register", "cas-register", "kv"])
def test_cutting_at_a_reset_keeps_the_verdict(name: str) -> None:
    """What a reduction keeps of a linearizable history is linearizable: so what it refutes was not."""
    model, cut = find(name), 0
    for seed in range(200):
        part = entries(random_history(name, seeded(seed), ops_max=7), refused=True)
        if brute.linearization(part, model) is None or not len(part.returns):
            continue
        seen: list[Sequence[Entry]] = []

        def refute(rest: Sequence[Entry], seen: list[Sequence[Entry]] = seen) -> bool:
            seen.append(rest)
            return False

        assert reduce(part, part.returns[-1], model, refute, work_max=10_000) is None
        cut += len(seen) > 1
        for rest in seen:
            assert brute.linearization(rest, model) is not None, seed
    assert cut > 10


@pytest.mark.parametrize("name", names())
def test_the_second_algorithm_is_right(name: str) -> None:
    model = find(name)
    for seed in range(8):
        part = entries(random_history(name, seeded(seed)), refused=True)
        failing = failing_return(part, model)
        assert (failing is None) == (brute.linearization(part, model) is not None)
        result = search(part, model, core="pure")
        assert failing == result.failed_at


def test_the_second_algorithm_gives_up_in_time() -> None:
    opened = " | ".join(f"p{i} invoke enqueue {i}" for i in range(8))
    part = entries(h(f"{opened} | p20 invoke dequeue | p20 ok dequeue 99"))
    with pytest.raises(TooMany):
        failing_return(part, find("fifo-queue"), configurations_max=1_000)


class Touchy(Register):
    """A model that raises when it is asked about the value 13."""

    name = "touchy"

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if operation.argument == 13:
            raise ZeroDivisionError("thirteen")
        return super().step(state, operation)

    def describe(self, state: State) -> str:
        raise ZeroDivisionError("no words")


def test_a_model_that_raises_is_unknown_with_its_traceback() -> None:
    result = search(entries(h("p0 invoke write 13 | p0 ok write 13")), Touchy(), core="pure")
    assert result.validity is Validity.UNKNOWN
    assert "ZeroDivisionError: thirteen" in result.traceback
    assert "thirteen" in result.reason


def test_an_explanation_that_crashes_keeps_the_refutation() -> None:
    model: Model = Touchy()
    history = h("p0 invoke read | p0 ok read 3")
    part = entries(history)
    result = search(part, model, core="pure")
    evidence = explain(history, part, model, result)
    assert evidence.reason == "read by process 0 returned 3 cannot be linearized"
    assert "no words" in evidence.error


def test_a_budget_leaves_a_sound_and_longer_result() -> None:
    history = stale_at_the_end(300)
    model = find("register")
    part = entries(history)
    result = search(part, model, core="pure")

    def run(work_max: int) -> Refutation:
        return explain(history, part, model, result, work_max=work_max)

    assert run(0).minimal is None
    assert core(run(10_000)).is_minimal
