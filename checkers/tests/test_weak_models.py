"""Causal and sequential consistency and the session guarantees: against their definitions, against each other, and by example."""

from __future__ import annotations

from random import Random

import pytest

from checkers.causal import causal
from checkers.causal.brute import causal_order, is_causal
from checkers.causal.reads_from import Trace, trace_of
from checkers.evidence import Findings
from checkers.linearizability import linearizable
from checkers.models.model import Operation, State
from checkers.models.register import Register
from checkers.models.registry import find
from checkers.sequential import sequential
from checkers.sequential.brute import is_sequential
from checkers.sessions import GUARANTEES, session_guarantee
from checkers.sessions.brute import has_guarantee
from checkers.tests.weak_histories import random_history
from checkers.verdict import Validity, Verdict
from histories.builder import h
from histories.history import History

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN
STRENGTHS = ("weak-causal", "causal", "causal-memory")
STORE = find("cas-register")


def verdicts(history: History) -> dict[str, Verdict]:
    """Every model's verdict by name."""
    found = {strength: causal(history, strength) for strength in STRENGTHS}  # type: ignore[arg-type]
    found |= {guarantee: session_guarantee(history, guarantee) for guarantee in GUARANTEES}
    return found | {"sequential": sequential(history, STORE)}


def agree(history: History) -> dict[str, Validity]:
    """Asserts that all checkers say what their definitions say, and that stronger models imply weaker ones."""
    trace: Trace = trace_of(history)
    found = {name: verdict.validity for name, verdict in verdicts(history).items()}
    expected = {strength: is_causal(trace, strength) for strength in STRENGTHS}  # type: ignore[arg-type]
    expected["sequential"] = is_sequential(trace)
    causes = causal_order(trace)
    if not trace.baseless and not any(node in causes[node] for node in range(len(trace))):
        expected |= {guarantee: has_guarantee(trace, guarantee) for guarantee in GUARANTEES}
    if any(reads for reads in trace.reads) or trace.baseless:
        for name, holds in expected.items():
            assert found[name] is (VALID if holds else INVALID), (name, found[name], holds, list(history))
    found["linearizable"] = linearizable(history, STORE, jobs=1).validity
    stronger = {
        "linearizable": ["sequential"],
        "sequential": ["causal", "causal-memory"],
        "causal": ["weak-causal", *GUARANTEES],
        "causal-memory": ["weak-causal", *GUARANTEES],
    }
    for name, implied in stronger.items():
        for weaker in implied:
            assert found[name] is not VALID or found[weaker] is not INVALID, (name, weaker, list(history))
    return found


def test_agreement_with_the_definitions_and_the_hierarchy() -> None:
    rng, seen = Random("weak models"), set()
    for _ in range(400):
        seen |= set(agree(random_history(rng)).items())
    for name in (*STRENGTHS, *GUARANTEES[:3], "sequential", "linearizable"):
        assert {(name, VALID), (name, INVALID)} <= seen, f"{name} was never both"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_agreement_on_a_hundred_thousand_histories() -> None:
    seen: set[tuple[str, Validity]] = set()
    for seed in range(100_000):
        seen |= set(agree(random_history(Random(f"weak models/{seed}"))).items())
    assert ("writes-follow-reads", INVALID) in seen


EXAMPLES = {
    # Bouajjani et al. 2017, figure 3.
    "3a: CM, not CCv": (
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke write 2 | p1 ok write 2"
        "| p0 invoke read | p0 ok read 2 | p1 invoke read | p1 ok read 1",
        {"causal-memory"},
        {"causal", "sequential"},
    ),
    "3b: CCv, not CM": (
        "p0 invoke write z=1 | p0 ok write z=1 | p0 invoke write x=1 | p0 ok write x=1 | p0 invoke write y=1 | p0 ok write y=1"
        "| p1 invoke write x=2 | p1 ok write x=2 | p1 invoke read z= | p1 ok read z=nil | p1 invoke read y= | p1 ok read y=1"
        "| p1 invoke read x= | p1 ok read x=2",
        {"causal"},
        {"causal-memory", "sequential"},
    ),
    "3c: sequential": (
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke write 2 | p1 ok write 2 | p0 invoke read | p0 ok read 2",
        {"causal", "causal-memory", "sequential"},
        set(),
    ),
    "3d: CC alone": (
        "p0 invoke write x=1 | p0 ok write x=1 | p0 invoke write y=1 | p0 ok write y=1"
        "| p1 invoke write x=2 | p1 ok write x=2 | p1 invoke read x= | p1 ok read x=1 | p1 invoke read x= | p1 ok read x=2",
        {"weak-causal"},
        {"causal", "causal-memory"},
    ),
    "3e: nothing": (
        "p0 invoke write x=1 | p0 ok write x=1 | p0 invoke write y=1 | p0 ok write y=1"
        "| p1 invoke read y= | p1 ok read y=1 | p1 invoke write x=2 | p1 ok write x=2"
        "| p2 invoke read x= | p2 ok read x=2 | p2 invoke read x= | p2 ok read x=1",
        set(),
        {"weak-causal", "causal", "causal-memory", "sequential", "monotonic-reads"},
    ),
    "own write unseen": (
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read nil",
        {"monotonic-reads", "monotonic-writes", "writes-follow-reads"},
        {"read-your-writes", "weak-causal"},
    ),
    "a read goes back": (
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 2 | p0 ok write 2"
        "| p1 invoke read | p1 ok read 2 | p1 invoke read | p1 ok read 1",
        {"read-your-writes", "monotonic-writes", "writes-follow-reads"},
        {"monotonic-reads"},
    ),
    "a client's second write before its first": (
        "p0 invoke write x=1 | p0 ok write x=1 | p0 invoke write y=1 | p0 ok write y=1"
        "| p1 invoke read y= | p1 ok read y=1 | p1 invoke read x= | p1 ok read x=nil",
        {"read-your-writes", "monotonic-reads", "writes-follow-reads"},
        {"monotonic-writes"},
    ),
    "a write before what its client had read": (
        "p0 invoke write x=1 | p0 ok write x=1 | p1 invoke read x= | p1 ok read x=1 | p1 invoke write y=1 | p1 ok write y=1"
        "| p2 invoke read y= | p2 ok read y=1 | p2 invoke read x= | p2 ok read x=nil",
        {"read-your-writes", "monotonic-reads", "monotonic-writes"},
        {"writes-follow-reads"},
    ),
    "from nowhere": (
        "p0 invoke read | p0 ok read 7",
        set(),
        {"weak-causal", "causal", "sequential"},
    ),
    "a failed write was read": (
        "p0 invoke write 7 | p0 fail write 7 | p0 invoke read | p0 ok read 7",
        set(),
        {"causal", "sequential"},
    ),
    "store buffer: causal, not sequential": (
        "p0 invoke write x=1 | p0 ok write x=1 | p1 invoke write y=1 | p1 ok write y=1"
        "| p0 invoke read y= | p0 ok read y=nil | p1 invoke read x= | p1 ok read x=nil",
        {"causal", "causal-memory", *GUARANTEES},
        {"sequential"},
    ),
    "a write in doubt that was read": (
        "p0 invoke write 1 | p0 info write 1 | p1 invoke read | p1 ok read 1 | p1 invoke read | p1 ok read nil",
        set(),
        {"causal", "monotonic-reads"},
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    text, holds, fails = EXAMPLES[name]
    found = verdicts(h(text))
    for each in holds:
        assert found[each].validity is VALID, each
    for each in fails:
        assert found[each].validity is INVALID, each
        assert found[each].evidence_of(Findings).findings[0].words == found[each].reason


def test_two_or_three_operations_show_a_breach() -> None:
    for name, (text, _, fails) in EXAMPLES.items():
        for guarantee in fails & set(GUARANTEES):
            (finding, *_) = session_guarantee(h(text), guarantee).evidence_of(Findings).findings  # type: ignore[arg-type]
            assert 2 <= len(finding.ops) <= 5, (name, guarantee)


@pytest.mark.parametrize("name", [*STRENGTHS, *GUARANTEES])
def test_values_written_twice_are_unknown(name: str) -> None:
    twice = h("p0 invoke write 1 | p0 ok write 1 | p1 invoke write 1 | p1 ok write 1 | p1 invoke read | p1 ok read 1")
    verdict = verdicts(twice)[name]
    assert verdict.validity is UNKNOWN
    assert "several wrote it" in verdict.reason


def test_sequential_takes_values_written_twice_by_search() -> None:
    twice = h("p0 invoke write 1 | p0 ok write 1 | p1 invoke write 1 | p1 ok write 1 | p1 invoke read | p1 ok read 1")
    assert sequential(twice, STORE).validity is VALID
    back = h(
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 2 | p0 ok write 2 | p0 invoke write 1 | p0 ok write 1"
        "| p1 invoke read | p1 ok read 2 | p1 invoke read | p1 ok read nil | p1 invoke read | p1 ok read 1"
    )
    assert sequential(back, STORE).validity is INVALID


def test_transactions_on_different_keys_of_the_history_are_about_different_objects() -> None:
    write, read = '[["w","x",1]]', '[["r","x",null]]'
    for key, validity in (("b", VALID), ("a", INVALID)):
        text = f"p0 invoke txn a={write} | p0 ok txn a={write} | p0 invoke txn {key}={read} | p0 ok txn {key}={read}"
        assert causal(h(text)).validity is validity
        assert sequential(h(text), find("multi-register")).validity is validity


CAS_IN_DOUBT = {
    "from what was never there": ("p0 invoke cas [5,2] | p0 info cas [5,2] | p1 invoke read | p1 ok read 2", INVALID),
    "from what was never there, unread": (
        "p0 invoke cas [5,2] | p0 info cas [5,2] | p1 invoke read | p1 ok read nil",
        VALID,
    ),
    "never ended": ("p0 invoke cas [5,2] | p1 invoke read | p1 ok read 2", INVALID),
    "from another in doubt": (
        "p0 invoke cas [1,2] | p0 info cas [1,2] | p1 invoke write 1 | p1 info write 1 | p2 invoke read | p2 ok read 2",
        VALID,
    ),
    "from another that cannot have been": (
        "p0 invoke cas [1,2] | p0 info cas [1,2] | p1 invoke cas [7,1] | p1 info cas [7,1] | p2 invoke read | p2 ok read 2",
        INVALID,
    ),
    "back to what it replaced": (
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [1,2] | p0 info cas [1,2]"
        "| p1 invoke read | p1 ok read 2 | p1 invoke read | p1 ok read 1",
        INVALID,
    ),
}


@pytest.mark.parametrize("name", CAS_IN_DOUBT)
def test_a_cas_that_somebody_saw_has_read_what_it_replaced(name: str) -> None:
    text, validity = CAS_IN_DOUBT[name]
    history = h(text)
    assert sequential(history, STORE).validity is validity
    assert causal(history).validity is validity
    assert linearizable(history, STORE).validity is validity


def test_a_cas_from_nil_is_no_read_of_anything() -> None:
    text = "p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [null,2] | p0 ok cas [null,2] | p0 invoke read | p0 ok read {}"
    for seen in ("2", "null"):
        history = h(text.format(seen))
        assert sequential(history, STORE, nil_reads=True).validity is INVALID
        assert causal(history, nil_reads=True).validity is INVALID
        assert linearizable(history, STORE, nil_reads=True).validity is INVALID


OTHER_MODELS = {
    "multi-register, several at once": (
        "multi-register",
        'p0 invoke write [["x",1]] | p0 ok write [["x",1]] | p1 invoke write [["y",2]] | p1 ok write [["y",2]]'
        '| p0 invoke read ["x","y"] | p0 ok read [["x",1],["y",2]]',
        VALID,
    ),
    "multi-register, absent at first": (
        "multi-register",
        'p0 invoke txn [["r","x",null]] | p0 ok txn [["r","x",null]] | p1 invoke txn [["w","x",2]] | p1 ok txn [["w","x",2]]',
        VALID,
    ),
    "multi-register, back": (
        "multi-register",
        'p0 invoke txn [["w","x",2]] | p0 ok txn [["w","x",2]] | p0 invoke txn [["r","x",null]] | p0 ok txn [["r","x",null]]',
        INVALID,
    ),
    "multi-register that holds something": (
        'multi-register(initial={"x":7})',
        'p0 invoke txn [["r","x",null]] | p0 ok txn [["r","x",7]] | p1 invoke txn [["w","x",2]] | p1 ok txn [["w","x",2]]',
        VALID,
    ),
    "unknown at first": (
        "register-unknown-initial",
        "p0 invoke read | p0 ok read 5 | p0 invoke write 6 | p0 ok write 6",
        VALID,
    ),
    "absent as the empty text": ("kv", 'p0 invoke read | p0 ok read "" | p0 invoke write a | p0 ok write a', VALID),
    "a register that holds something": ("register(initial=3)", "p0 invoke read | p0 ok read 3", VALID),
}


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_sequential_asks_the_model_and_not_what_its_ops_are_called(name: str) -> None:
    model, text, validity = OTHER_MODELS[name]
    assert sequential(h(text), find(model)).validity is validity
    assert linearizable(h(text), find(model)).validity is validity


def test_sequential_asks_a_model_that_is_derived_from_a_register() -> None:
    class Doubled(Register):
        """A register whose reads return what was written, twice."""

        def step(self, state: State, operation: Operation) -> tuple[State, ...]:
            if operation.f == "read":
                return (state,) if operation.result == (state, state) else ()
            return super().step(state, operation)

    assert (
        sequential(h("p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read [1,1]"), Doubled()).validity
        is VALID
    )


def test_ops_of_another_kind_are_unknown() -> None:
    queue = h("p0 invoke enqueue 1 | p0 ok enqueue 1")
    for name in STRENGTHS:
        assert causal(queue, name).validity is UNKNOWN  # type: ignore[arg-type]
    for guarantee in GUARANTEES:
        assert session_guarantee(queue, guarantee).validity is UNKNOWN


def test_transactions() -> None:
    """AWDIT's example of a history that is read atomic and not causal (after Biswas and Enea 2019, figure 2)."""
    history = h(
        'p0 invoke txn [["w","x",1]] | p0 ok txn [["w","x",1]] | p0 invoke txn [["w","x",2]] | p0 ok txn [["w","x",2]]'
        '| p1 invoke txn [["r","x",null],["w","y",1]] | p1 ok txn [["r","x",2],["w","y",1]]'
        '| p2 invoke txn [["r","x",null],["r","y",null]] | p2 ok txn [["r","x",1],["r","y",1]]'
    )
    assert causal(history).validity is INVALID
    fork = h(
        'p0 invoke txn [["w","x",0],["w","y",0]] | p0 ok txn [["w","x",0],["w","y",0]]'
        '| p1 invoke txn [["w","x",1]] | p1 ok txn [["w","x",1]] | p2 invoke txn [["w","y",1]] | p2 ok txn [["w","y",1]]'
        '| p1 invoke txn [["r","x",null],["r","y",null]] | p1 ok txn [["r","x",1],["r","y",0]]'
        '| p2 invoke txn [["r","y",null],["r","x",null]] | p2 ok txn [["r","y",1],["r","x",0]]'
    )
    assert causal(fork).validity is VALID


def test_a_transaction_that_reads_two_values_of_a_key_has_no_place() -> None:
    """By the twin, too: at no place in an order of the writes are both there."""
    wrote = (
        'p0 invoke txn [["w","x",1]] | p0 ok txn [["w","x",1]] | p1 invoke txn [["w","x",2]] | p1 ok txn [["w","x",2]]'
    )
    for told, validity in (("2", Validity.INVALID), ("1", Validity.VALID)):
        read = f'p2 invoke txn [["r","x",null],["r","x",null]] | p2 ok txn [["r","x",1],["r","x",{told}]]'
        history = h(f"{wrote} | {read}")
        for strength in STRENGTHS:
            expected = validity is Validity.VALID
            assert is_causal(trace_of(history), strength) is expected, strength  # type: ignore[arg-type]
            assert causal(history, strength).validity is validity, strength  # type: ignore[arg-type]
