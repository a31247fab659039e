"""The native core and its pure twin are one algorithm: same verdict, same witness, same failing operation, same counts."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkers import brute
from checkers.bench.generate import cas_register
from checkers.linearizability import native
from checkers.linearizability.depth import Depth
from checkers.linearizability.encode import Entries, encode_pure, entries, entries_by_key
from checkers.linearizability.forward import Forward
from checkers.linearizability.outcome import Outcome
from checkers.linearizability.problem import Problem
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import Core, search
from checkers.linearizability.table import Table, steps_for
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.register import CasRegister, Register
from checkers.models.registry import find
from checkers.tests.random_histories import ALPHABETS, histories, random_history, seeded
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType
from histories.wellformed import MalformedHistory

needs_native = pytest.mark.skipif(native.core is None, reason="no C++ compiler was there when this was installed")
turns = importlib.import_module("checkers.linearizability.search")


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """So short that both searches get their turns in tiny histories."""
    monkeypatch.setattr(turns, "SLICE_MIN", 2)


def comparable(result: SearchResult) -> dict[str, Any]:
    """All that must not depend on the core."""
    fields = {name: getattr(result, name) for name in result.__struct_fields__}
    fields["linearization"] = None if result.linearization is None else list(result.linearization)
    fields["stats"] = {name: value for name, value in result.stats.items() if name not in ("core", "ns")}
    return fields


def found(part: Entries, model: Model, core: Core) -> SearchResult:
    result = search(part, model, core=core)
    assert result.stats["core"] == core
    return result


def compare(name: str, history: History, refused: bool, brute_max: int = 5) -> None:
    """Both cores agree; VALID is proven, and small histories are given to brute force."""
    model = find(name)
    part = entries(history, refused=refused)
    pure = found(part, model, "pure")
    assert comparable(found(part, model, "native")) == comparable(pure)
    if pure.linearization is not None:
        assert verify(part, model, pure.linearization) is None
    if len(part) <= brute_max:
        expected = Validity.INVALID if brute.linearization(part, model) is None else Validity.VALID
        assert pure.validity is expected


def failing_operation(part: Entries, model: Model) -> int:
    """By definition: the return that ends the shortest prefix that brute force refutes. What is open then may be left out."""
    for position in part.returns:
        cut = part.end[position]
        prefix = [
            entry if 0 <= entry.ret <= cut else msgspec.structs.replace(entry, ret=-1)
            for entry in part
            if entry.call < cut
        ]
        if brute.linearization(prefix, model) is None:
            return position
    raise AssertionError("the history is linearizable")


@needs_native
@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("name", sorted(ALPHABETS))
def test_both_cores_agree_on_every_model(name: str) -> None:
    for seed in range(40):
        history = random_history(name, seeded(seed), ops_max=12, processes=1 + seed % 8)
        compare(name, history, refused=seed % 2 == 0)


@needs_native
@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("name", ["cas-register", "lossy-queue", "list-append"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_cores_agree_on_what_hypothesis_thinks_of(name: str, data: st.DataObject) -> None:
    history = data.draw(histories(name, ops_max=10, processes=8))
    compare(name, history, refused=data.draw(st.booleans()))


@needs_native
@pytest.mark.long
@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("name", sorted(ALPHABETS))
def test_both_cores_agree_on_200_000_histories(name: str) -> None:
    for seed in range(200_000 // len(ALPHABETS) + 1):
        history = random_history(name, seeded(1_000_000 + seed), ops_max=5 + seed % 8, processes=1 + seed % 8)
        compare(name, history, refused=seed % 2 == 0, brute_max=7)


@needs_native
@pytest.mark.usefixtures("short_turns")
def test_each_search_alone_decides_and_names_the_same_operation() -> None:
    outcomes = set()
    for seed in range(400):
        history = random_history("cas-register", seeded(seed), ops_max=14, processes=1 + seed % 6)
        part = entries(history, refused=True)
        # Without a complete table there are no groups and no classes but those of equal operations.
        table = Table(CasRegister(), part.operations, steps_for(len(part)) if seed % 2 else 0)
        assert native.core is not None
        depths = [Depth(Problem(part, table, part.op), 10**6), native.core.Depth(native_problem(part, table), 10**6)]
        forwards = [
            Forward(Problem(part, table, part.op), 10**6),
            native.core.Forward(native_problem(part, table), 10**6),
        ]
        outcome = {each.run(10**9) for each in [*depths, *forwards]}
        assert len(outcome) == 1
        outcomes |= outcome
        if outcome == {Outcome.EXHAUSTED}:
            assert len({*(each.deepest for each in depths), *(each.bound for each in forwards)}) == 1
            assert forwards[0].configurations() == forwards[1].configurations()
        else:
            assert list(forwards[0].linearization()) == list(forwards[1].linearization())
            assert verify(part, CasRegister(), list(forwards[0].linearization())) is None
    assert outcomes == {Outcome.FOUND, Outcome.EXHAUSTED}


def native_problem(part: Entries, table: Table) -> Any:
    assert native.core is not None
    return native.core.Problem(part, table, part.op)


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("name", ["cas-register", "fifo-queue", "register-unknown-initial"])
def test_the_failing_operation_ends_the_shortest_failing_prefix(name: str) -> None:
    model, refuted = find(name), 0
    for seed in range(150):
        part = entries(random_history(name, seeded(seed), ops_max=7, processes=3), refused=True)
        result = search(part, model)
        if result.validity is Validity.INVALID and result.is_shortest:
            assert result.failed_at == failing_operation(part, model)
            refuted += 1
    assert refuted > 5


@needs_native
def test_masks_of_several_words_change_nothing() -> None:
    for processes, width in ((300, 4), (1_000, 16), (3_000, 64)):
        history, _ = cas_register(operations=processes * 3 // 2, processes=processes, variant="valid")
        part = entries(history, refused=True)
        table = Table(CasRegister(), part.operations, steps_for(len(part)))
        assert 64 * width // 4 < native_problem(part, table).width <= 64 * width
        result = found(part, CasRegister(), "native")
        assert result.validity is Validity.VALID
        assert verify(part, CasRegister(), list(result.linearization or ())) is None
        if width == 4:  # The twin takes its time over the wide ones.
            assert comparable(result) == comparable(found(part, CasRegister(), "pure"))


@needs_native
def test_more_concurrency_than_the_native_masks_hold_is_left_to_the_twin() -> None:
    count = 4_200
    ops = [Op(i, i, "invoke", i, "write", None, i) for i in range(count)]
    ops += [Op(count + i, count + i, "ok", i, "write", None, i) for i in range(count)]
    result = search(entries(History(ops)), Register(), core="native")
    assert result.validity is Validity.VALID
    assert result.stats["core"] == "pure"


@needs_native
@pytest.mark.parametrize("crashed", [0.0, 0.02])
def test_both_cores_agree_on_long_histories(crashed: float) -> None:
    for seed in range(3):
        for variant in ("valid", "middle", "end"):
            history, stale = cas_register(operations=1_000, processes=6, crashed=crashed, variant=variant, seed=seed)
            part = entries(history, refused=True)
            result = found(part, CasRegister(), "native")
            assert comparable(result) == comparable(found(part, CasRegister(), "pure"))
            if stale is None:
                assert result.validity is Validity.VALID
            elif stale.is_certain:
                assert result.validity is Validity.INVALID


def columns(parts: dict[Any, Entries]) -> dict[Any, list[Any]]:
    """Entries as the searches see them, with the operations in place of their numbers."""
    return {
        key: [
            [
                (repr(part.operations[number]), call, end)
                for number, call, end in zip(part.op, part.call, part.end, strict=True)
            ],
            list(part.returns),
        ]
        for key, part in parts.items()
    }


ODD_VALUES: list[Any] = [
    None,
    0,
    1,
    255,
    256,
    -1,
    2**70,
    True,
    False,
    1.0,
    "",
    "x",
    [],
    [1, 2],
    [1, True],
    [1, [2]],
    [None, "a"],
]
ODD_VALUES += [[1, 2, 3], {"a": 1}, [300, 1], ["x", 1], (1, 2)]


def odd_histories() -> Iterator[History]:
    """Several keys, odd values, crashes, operations without an end, and the nemesis in between."""
    for seed in range(60):
        rng = Random(seed)
        ops: list[Op] = []
        open_: dict[int, Op] = {}
        for _ in range(60):
            process = rng.randrange(5)
            if rng.random() < 0.1:
                ops.append(Op(len(ops), 0, "info", "nemesis", "kill"))
            if process in open_:
                invoked = open_.pop(process)
                ends: tuple[OpType, ...] = ("ok", "fail", "info")
                ops.append(Op(len(ops), 0, rng.choice(ends), process, invoked.f, invoked.key, rng.choice(ODD_VALUES)))
            else:
                f = rng.choice(("read", "write", "get"))
                key = rng.choice((None, "k", 7, [1, 2]))
                open_[process] = Op(len(ops), 0, "invoke", process, f, key, rng.choice(ODD_VALUES))
                ops.append(open_[process])
        yield History(ops)


@needs_native
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("nil_reads", [False, True])
def test_the_native_encoder_is_the_pure_one(refused: bool, nil_reads: bool) -> None:
    assert native.encoder is not None
    for history in odd_histories():
        for by_key in (False, True):
            pure = encode_pure(history.ops, by_key=by_key, refused=refused, nil_reads=nil_reads)
            if by_key:
                encoded = entries_by_key(history, refused=refused, nil_reads=nil_reads)
            else:
                encoded = {None: entries(history, refused=refused, nil_reads=nil_reads)}
            assert columns(encoded) == columns(pure)
            assert [list(part) for part in encoded.values()] == [list(part) for part in pure.values()]


@pytest.mark.parametrize("core", ["0", "1"])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("p0 invoke write 1 | p0 invoke write 2", "two-open"),
        ("p0 invoke write 1 | p0 ok write 1 | p0 ok write 1", "no-invocation"),
    ],
)
def test_what_cannot_be_paired_is_refused(monkeypatch: pytest.MonkeyPatch, core: str, text: str, rule: str) -> None:
    monkeypatch.setenv("CHECKERS_PURE", core)
    with pytest.raises(MalformedHistory) as raised:
        entries(h(text, check=False))
    assert [problem.rule for problem in raised.value.problems] == [rule]


def test_the_environment_forces_the_pure_twin() -> None:
    code = (
        "from checkers.linearizability import linearizable; from checkers.models.register import Register;"
        "from histories.builder import h;"
        "print(linearizable(h('p0 invoke write 1 | p0 ok write 1'), Register()).stats['core'])"
    )
    environment = os.environ | {"CHECKERS_PURE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pure"
