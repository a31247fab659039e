"""What the checker says about whole histories: verdicts, evidence, budgets, refusals, extremes."""

from __future__ import annotations

import shutil
import threading
import time
from random import Random
from typing import Any

import msgspec
import pytest

from checkers.bench.generate import cas_register
from checkers.evidence import Linearizability, Order
from checkers.linearizability import Cancellation, UnfitHistory, entries, linearizable, native, search, search_keys
from checkers.linearizability.check import CERTIFICATE_MAX
from checkers.linearizability.search import Core
from checkers.linearizability.witness import verify
from checkers.models.model import Model, Operation, State
from checkers.models.register import CasRegister, Register
from checkers.models.registry import find
from checkers.verdict import Validity, Verdict
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN


def found(verdict: Verdict) -> Linearizability:
    return verdict.evidence_of(Linearizability)


TABLE = [
    ("nothing happened", VALID, ""),
    ("one write", VALID, "p0 invoke write 1 | p0 ok write 1"),
    (
        "reads see a concurrent write early or late",
        VALID,
        "p0 invoke write 1 | p1 invoke read | p1 ok read | p0 ok write 1",
    ),
    ("stale read", INVALID, "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read"),
    (
        "two reads see a concurrent write in the wrong order",
        INVALID,
        "p0 invoke write 1 | p1 invoke read | p1 ok read 1 | p2 invoke read | p2 ok read | p0 ok write 1",
    ),
    ("a crashed write may have happened", VALID, "p0 invoke write 1 | p0 info write 1 | p1 invoke read | p1 ok read 1"),
    (
        "a crashed write may not have happened",
        VALID,
        "p0 invoke write 1 | p0 info write 1 | p1 invoke read | p1 ok read",
    ),
    (
        "a crashed write happens at most once",
        INVALID,
        "p0 invoke write 1 | p0 info write 1 | p1 invoke read | p1 ok read 1 | p1 invoke write 2 | p1 ok write 2 | "
        "p1 invoke read | p1 ok read 1",
    ),
    (
        "two crashed writes happen twice",
        VALID,
        "p0 invoke write 1 | p0 info write 1 | p3 invoke write 1 | p3 info write 1 | p1 invoke read | p1 ok read 1 | "
        "p1 invoke write 2 | p1 ok write 2 | p1 invoke read | p1 ok read 1",
    ),
    (
        "a crashed write happens late",
        VALID,
        "p0 invoke write 1 | p0 info write 1 | p1 invoke write 2 | p1 ok write 2 | p1 invoke read | p1 ok read 1",
    ),
    (
        "a crashed write does not happen before its call",
        INVALID,
        "p1 invoke read | p1 ok read 1 | p0 invoke write 1 | p0 info write 1",
    ),
    ("a crashed read says nothing", VALID, "p0 invoke read | p0 info read 7"),
    ("what never completed may have happened", VALID, "p0 invoke write 1 | p1 invoke read | p1 ok read 1"),
    ("a failed write did not happen", INVALID, "p0 invoke write 1 | p0 fail write 1 | p1 invoke read | p1 ok read 1"),
    (
        "a write of the value that is there still hides another",
        VALID,
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 1 | p1 invoke write 2 | p1 ok write 2 | p2 invoke read | "
        "p2 ok read 1 | p0 ok write 1",
    ),
    (
        "cas from a value that was never there",
        INVALID,
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [2,3] | p0 ok cas [2,3]",
    ),
]


@pytest.mark.parametrize("core", ["auto", "pure"])
@pytest.mark.parametrize(("expected", "text"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_verdicts(expected: Validity, text: str, core: Core) -> None:
    history = h(text) if text else History([])
    assert linearizable(history, CasRegister(), core=core).validity is expected


def test_a_failed_cas_is_an_observation_only_when_asked() -> None:
    history = h("p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [1,2] | p0 fail cas [1,2]")
    assert linearizable(history, CasRegister()).validity is VALID
    assert linearizable(history, CasRegister(), refused=True).validity is INVALID


def test_a_nil_read_is_a_wildcard_only_when_asked() -> None:
    history = h("p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read nil")
    assert linearizable(history, CasRegister()).validity is INVALID
    assert linearizable(history, CasRegister(), nil_reads=True).validity is VALID


@pytest.mark.parametrize("told", ['txn [["r","x",null],["r","y",2]]', 'read [["x",null],["y",2]]'])
def test_a_nil_read_of_one_of_several_registers_is_a_wildcard_where_asked_for(told: str) -> None:
    wrote = 'p0 invoke write [["x",1],["y",2]] | p0 ok write [["x",1],["y",2]]'
    asked = told.replace("2", "null")
    history = h(f"{wrote} | p1 invoke {asked} | p1 ok {told}")
    assert linearizable(history, find("multi-register")).validity is INVALID
    assert linearizable(history, find("multi-register"), nil_reads=True).validity is VALID
    stale = h(f"{wrote} | p1 invoke {asked} | p1 ok {told.replace('2', '3')}")
    assert linearizable(stale, find("multi-register"), nil_reads=True).validity is INVALID


def test_a_nil_that_a_transaction_wrote_is_no_wildcard() -> None:
    wrote = 'p0 invoke txn [["w","x",1]] | p0 ok txn [["w","x",1]] | p0 invoke txn [["w","x",null]] | p0 ok txn [["w","x",null]]'
    for told, validity in ((1, INVALID), ("null", VALID)):
        read = f'p1 invoke txn [["r","x",null]] | p1 ok txn [["r","x",{told}]]'
        assert linearizable(h(f"{wrote} | {read}"), find("multi-register"), nil_reads=True).validity is validity


def test_valid_comes_with_an_order_of_invocations() -> None:
    history = h(
        "p0 invoke write 1 | p1 invoke read | p1 ok read 1 | p0 ok write 1 | p2 invoke write 9 | p2 info write 9"
    )
    assert found(linearizable(history, Register())).orders == (Order(None, (0, 1)),)


def test_long_certificates_are_left_to_the_raw_result() -> None:
    history, _ = cas_register(operations=CERTIFICATE_MAX + 1_000, processes=5)
    assert not found(linearizable(history, CasRegister(), refused=True)).orders
    part = search_keys(history, CasRegister(), refused=True)[None]
    assert verify(part.entries, CasRegister(), list(part.result.linearization or ())) is None


def test_invalid_names_what_does_not_fit_and_what_was_possible() -> None:
    history = h(
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke write 2 | p2 invoke write 3 | p2 ok write 3 | p3 invoke read | "
        "p3 ok read 1 | p1 ok write 2"
    )
    part = entries(history)
    result = search(part, Register())
    assert result.validity is INVALID
    assert result.is_shortest
    assert result.failed_at is not None
    assert part[result.failed_at].complete_index == 6
    assert {configuration.state for configuration in result.final_configurations} == {2, 3}
    for configuration in result.final_configurations:
        assert 3 in configuration.pending, "the read fits nowhere"


def test_one_refuted_key_ends_the_others_and_the_verdict() -> None:
    ops: list[Op] = []

    def record(key: str, process: int, f: str, value: Any, *, returned: Any) -> None:
        ops.append(Op(len(ops), 0, "invoke", process, f, key, value))
        ops.append(Op(len(ops), 0, "ok", process, f, key, returned))

    for key in "abc":
        record(key, 0, "write", 1, returned=1)
        record(key, 0, "read", None, returned=1 if key != "b" else 2)
    verdict = linearizable(History(ops), Register(), jobs=1)
    assert verdict.validity is INVALID
    assert [each.key for each in found(verdict).refuted] == ["b"]
    assert [each.key for each in found(verdict).undecided] == ["c"]
    assert "b" in verdict.reason
    assert linearizable(History(ops), Register(), jobs=2).validity is INVALID


def hard_history() -> History:
    """Nothing that takes moments: 60 writes, each of another value, all concurrent, and a read of what nobody wrote."""
    count = 60
    ops = [Op(i, i, "invoke", i, "write", None, i) for i in range(count)]
    ops.append(Op(count, count, "invoke", count, "read"))
    ops.append(Op(count + 1, count, "ok", count, "read", None, count))
    ops += [Op(count + 2 + i, count + i, "ok", i, "write", None, i) for i in range(count)]
    return History(ops)


class NoTable(Register):
    """A register that does not let its table be completed, so that nothing is known beforehand."""

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        written = state[0] if isinstance(state, tuple) else None
        count = state[1] if isinstance(state, tuple) else 0
        return tuple((value, count + (operation.f == "write")) for value in super().step(written, operation))


def test_a_budget_that_ends_says_how_far_it_got() -> None:
    part = entries(hard_history())
    result = search(part, NoTable(), states_max=5_000)
    assert result.validity is UNKNOWN
    assert "the budget of 5,000 configurations" in result.reason
    assert "the first 0 of 61" in result.reason
    assert 5_000 <= result.stats["configurations"] < 6_000


def test_a_time_limit_that_ends_says_so() -> None:
    began_s = time.monotonic()
    verdict = linearizable(hard_history(), NoTable(), time_limit_s=0.2)
    assert verdict.validity is UNKNOWN
    assert "the time limit ended; the first 0 of 61" in verdict.reason
    assert time.monotonic() - began_s < 20
    assert found(verdict).undecided[0].linearizable_up_to == 0


def test_another_thread_can_end_a_search() -> None:
    stop = Cancellation()
    timer = threading.Timer(0.1, stop.cancel, ["enough"])
    timer.start()
    result = search(entries(hard_history()), NoTable(), stop=stop)
    timer.join()
    assert result.validity is UNKNOWN
    assert "enough" in result.reason


@pytest.mark.parametrize("core", ["auto", "pure"])
def test_what_no_state_allows_needs_no_search(core: Core) -> None:
    history, stale = cas_register(operations=1_500, processes=400, variant="middle")
    assert stale is not None
    assert stale.value == 5, "with so many processes only a value that was never written is certainly wrong"
    part = entries(history, refused=True)
    result = search(part, CasRegister(), core=core)
    assert result.validity is INVALID
    assert result.failed_at is not None
    assert part[result.failed_at].operation.result == 5


class Raising(Register):
    """Fails on the third value."""

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if state == 3:
            raise RuntimeError("three is too many")
        return super().step(state, operation)


@pytest.mark.parametrize("core", ["auto", "pure"])
def test_a_model_that_raises_is_unknown_with_its_traceback(core: Core) -> None:
    history = h("p0 invoke write 3 | p0 ok write 3 | p0 invoke write 1 | p0 ok write 1")
    verdict = linearizable(history, Raising(), core=core)
    assert verdict.validity is UNKNOWN
    assert "three is too many" in verdict.reason
    assert "test_linearizability.py" in found(verdict).undecided[0].traceback


def test_a_model_that_raises_where_no_history_leads_does_no_harm() -> None:
    history = h("p0 invoke write 1 | p0 ok write 1 | p1 invoke write 3 | p0 invoke read | p0 ok read 1 | p1 ok write 3")
    assert linearizable(history, Raising()).validity is VALID


def test_unhashable_states_are_unknown_not_valid() -> None:
    class Unhashable(Register):
        def initial(self) -> Any:
            return []

    verdict = linearizable(h("p0 invoke write 1 | p0 ok write 1"), Unhashable())
    assert verdict.validity is UNKNOWN
    assert "unhashable" in verdict.reason


def test_what_the_model_does_not_know_is_refused_with_its_place() -> None:
    history = h("p0 invoke write 1 | p0 ok write 1 | p0 invoke push 1 | p0 ok push 1 | p0 invoke cas 3 | p0 ok cas 3")
    with pytest.raises(UnfitHistory) as raised:
        linearizable(history, CasRegister())
    assert [misfit.index for misfit in raised.value.misfits] == [2, 4]
    assert "knows no 'push'" in str(raised.value)
    assert "cas takes [old, new]" in str(raised.value)


def test_a_core_that_is_not_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkers.linearizability.native.core", None)
    monkeypatch.setattr("checkers.linearizability.native.encoder", None)
    history = h("p0 invoke write 1 | p0 ok write 1")
    assert linearizable(history, Register()).stats["core"] == "pure"
    with pytest.raises(ValueError, match="not built"):
        linearizable(history, Register(), core="native")


def test_all_operations_crashed() -> None:
    rng = Random(1)
    ops: list[Op] = []
    for i in range(2_000):
        value = rng.randrange(5)
        ops.append(Op(len(ops), i, "invoke", i, "write", None, value))
        ops.append(Op(len(ops), i, "info", i, "write", None, value))
    verdict = linearizable(History(ops), Register())
    assert verdict.validity is VALID
    assert verdict.stats["crashed"] == 2_000


@pytest.mark.parametrize("processes", [200, 1_500])
def test_a_thousand_concurrent_operations(processes: int) -> None:
    history, _ = cas_register(operations=2 * processes, processes=2 * processes)
    assert linearizable(history, CasRegister(), refused=True, time_limit_s=1000).validity is VALID


def test_ten_thousand_keys() -> None:
    ops: list[Op] = []
    for key in range(10_000):
        for type_, f, value in EACH:
            ops.append(Op(len(ops), 0, type_, 0, f, key, value))
    verdict = linearizable(History(ops), find("kv"))
    assert verdict.validity is VALID
    assert verdict.stats["keys_decided"] == 10_000
    ops[4_003 * len(EACH) + 3] = msgspec.structs.replace(ops[4_003 * len(EACH) + 3], value=8)
    verdict = linearizable(History(ops), find("kv"))
    assert verdict.validity is INVALID
    assert [each.key for each in found(verdict).refuted] == [4_003]


EACH: list[tuple[OpType, str, Any]] = [
    ("invoke", "put", 1),
    ("ok", "put", 1),
    ("invoke", "get", None),
    ("ok", "get", 1),
]


@pytest.mark.parametrize("crashed", [0.0, 0.01])
@pytest.mark.parametrize("variant", ["middle", "end"])
def test_a_stale_read_is_found_wherever_it_is(variant: Any, crashed: float) -> None:
    for seed in range(5):
        history, stale = cas_register(
            operations=3_000, processes=5, crashed=crashed, variant=variant, seed=seed, spare=True
        )
        assert stale is not None
        assert stale.is_certain
        part = search_keys(history, CasRegister(), refused=True)[None]
        assert part.result.validity is INVALID
        assert part.result.is_shortest


def test_what_is_linearizable_by_construction_is_valid() -> None:
    for seed in range(20):
        history, _ = cas_register(operations=2_000, processes=2 + seed, crashed=0.02 * (seed % 3), seed=seed)
        part = search_keys(history, CasRegister(), refused=True, time_limit_s=1000)[None]
        assert part.result.validity is VALID
        assert verify(part.entries, CasRegister(), list(part.result.linearization or ())) is None


@pytest.mark.parametrize("seed", range(4))
def test_many_crashed_operations_at_once_are_decided(seed: int) -> None:
    """About a hundred open crashed operations of thirty kinds: counting each kind would drown."""
    history, _ = cas_register(operations=10_000, processes=5, crashed=0.01, variant="middle", seed=seed)
    part = search_keys(history, CasRegister(), refused=True, time_limit_s=1000)[None]
    assert part.result.validity is not UNKNOWN
    if part.result.linearization is not None:
        assert verify(part.entries, CasRegister(), list(part.result.linearization)) is None


def test_models_without_the_optional_members_are_completed_by_the_registry() -> None:
    class Bare:
        name = "bare"
        fs = frozenset({"read", "write"})

        def initial(self) -> State:
            return None

        def step(self, state: State, operation: Operation) -> tuple[State, ...]:
            return Register().step(state, operation)

    from checkers.models.registry import complete

    model: Model = complete(Bare())
    assert linearizable(h("p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read 1"), model).validity is VALID


@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="there is no C++ compiler here")
def test_the_native_core_is_there_where_a_compiler_is() -> None:
    assert native.core is not None, "its build failed: .venv/bin/python setup.py build_ext --inplace says why"
