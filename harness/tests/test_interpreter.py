"""The interpreter's books: threads, processes, phases, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import generators as gen
from harness.bench.interpreter import measure
from harness.generators import Context, Generator, GeneratorError, Invocation, Step
from harness.generators.interpreter import Interpreter, InvalidCompletion
from harness.generators.simulate import Ending, imperfect, simulate
from harness.workloads.base import WorkloadContext
from harness.workloads.register import RegisterOptions, RegisterWorkload
from histories.faults import FaultResult
from histories.op import NEMESIS, Op
from histories.wellformed import problems

A, B = Invocation("a"), Invocation("b")


def interpreter(generator: gen.Generatable, concurrency: int = 2) -> tuple[Interpreter, list[Op]]:
    recorded: list[Op] = []
    return Interpreter(generator, concurrency=concurrency, record=recorded.append), recorded


def has_ended(run: Interpreter) -> bool:
    """`finished`, behind a call: mypy takes an attribute for constant between two looks at it."""
    return run.finished


def test_an_op_is_recorded_when_it_is_given_and_again_when_it_ends() -> None:
    run, recorded = interpreter(gen.clients(A), concurrency=1)
    (op,) = run.poll(5)
    assert recorded == [op] == [Op(0, 5, "invoke", 0, "a")]
    assert not has_ended(run)
    run.complete(9, op, "ok", 1, node="n2")
    assert recorded[1] == Op(1, 9, "ok", 0, "a", None, 1, None, "n2")
    assert not run.poll(9)
    assert run.wake_ns is None
    assert has_ended(run)


def test_a_crashed_process_is_replaced_and_others_are_not() -> None:
    run, _ = interpreter(gen.clients(gen.repeat(A)), concurrency=3)
    first = run.poll(0)
    for op, type in zip(first, ("info", "fail", "ok"), strict=True):
        run.complete(1, op, type)  # type: ignore[arg-type]
    crashed = first[0].process
    assert isinstance(crashed, int)
    assert {op.process for op in run.poll(2)} == {0, 1, 2} - {crashed} | {crashed + 3}


def test_a_nemesis_op_ends_with_its_evidence_and_the_nemesis_stays() -> None:
    run, recorded = interpreter(gen.nemesis([A, B]))
    (op,) = run.poll(0)
    assert op.process == NEMESIS
    run.complete(1, op, "info", FaultResult("installed", did={"n2": frozenset({"n3", "n1"})}))
    assert recorded[-1].value == {"status": "installed", "did": {"n2": ["n1", "n3"]}}
    (op,) = run.poll(1)
    assert (op.process, op.f) == (NEMESIS, "b")


def test_wake_is_the_next_planned_op_or_none_when_only_a_completion_helps() -> None:
    run, _ = interpreter(gen.clients(gen.timed((1e-6, A), (2e-6, B))), concurrency=1)
    assert not run.poll(0)
    assert run.wake_ns == 1000
    assert len(run.poll(1000)) == 1
    assert run.wake_ns == 2000
    assert not run.poll(2000)
    assert run.wake_ns is None, "the only thread is busy"


def test_a_generator_is_not_asked_while_it_says_that_it_is_quiet() -> None:
    asked: list[int] = []

    def noted(context: Context) -> Invocation:
        asked.append(context.now_ns)
        return A

    run, _ = interpreter(
        gen.main_phase(gen.lasting(1, gen.clients(gen.stagger(Random(1), 1e-6, noted)), gen.nemesis(gen.timed((1, B)))))
    )
    (first,) = run.poll(0)
    wake_ns = run.wake_ns
    assert wake_ns is not None
    assert asked == [0]
    run.complete(1, first, "ok")
    assert not run.poll(1)
    assert (asked, run.wake_ns) == ([0], wake_ns), "a completion brings nothing before the next op is due"
    assert len(run.poll(wake_ns)) == 1
    assert asked == [0, wake_ns]
    run.stop()
    assert not run.poll(wake_ns)
    assert not run.finished, "one op is outstanding"


def test_wake_is_the_end_of_a_sleep() -> None:
    run, _ = interpreter(gen.phases(gen.sleep(1e-6), A))
    assert not run.poll(0)
    assert run.wake_ns == 1000
    assert len(run.poll(1000)) == 1


def test_a_completion_may_change_what_was_planned() -> None:
    """The op planned for later is thrown away when what completed made it pointless."""
    run, recorded = interpreter(gen.clients(gen.until_ok(gen.delay(1e-6, gen.repeat(A)))))
    (op,) = run.poll(0)
    assert not run.poll(500)
    assert run.wake_ns == 1000
    run.complete(600, op, "ok")
    assert not run.poll(600)
    assert run.finished
    assert len(recorded) == 2


def test_stop_wakes_the_driver_and_keeps_what_follows() -> None:
    whole = gen.phases(gen.main_phase(gen.clients(gen.delay(1, gen.repeat(A)))), gen.nemesis(B))
    run, _ = interpreter(whole)
    (op,) = run.poll(0)
    run.poll(10)
    run.stop()
    run.stop()
    assert run.wake_ns == 10
    assert not run.poll(11)
    assert not run.finished, "the op under way must end first"
    run.complete(12, op, "ok")
    (op,) = run.poll(12)
    assert op.f == "b"
    run.complete(13, op, "info")
    run.poll(13)
    assert run.finished


def test_a_stop_that_comes_while_the_generator_is_asked_is_not_forgotten() -> None:
    """As from a signal handler: the driver must poll again at once, and not when the next op was due."""
    run: Interpreter

    def interrupted(context: Context) -> Invocation:
        run.stop()
        return Invocation("a", time=10**12)

    run, _ = interpreter(gen.main_phase(interrupted))
    run.poll(5)
    assert run.wake_ns == 5
    run.poll(5)
    assert run.finished


def test_abort_ends_everything_and_late_completions_are_ignored() -> None:
    run, recorded = interpreter(gen.phases(gen.main_phase(gen.clients(gen.repeat(A))), B))
    ops = run.poll(0)
    run.abort()
    assert run.finished
    assert run.wake_ns is None
    run.complete(1, ops[0], "ok")
    assert not run.poll(2)
    assert recorded == list(ops), "what was outstanding never ends"


@pytest.mark.parametrize(
    ("type", "now_ns", "is_other", "expected"),
    [
        ("invoke", 6, False, ["type is 'invoke'"]),
        ("done", 1, False, ["type is 'done'", "time went backwards"]),
        ("ok", 4, False, ["time went backwards"]),
        ("ok", 6, True, ["no op outstanding"]),
        ("oops", 0, True, ["no op outstanding", "type is 'oops'", "time went backwards"]),
    ],
)
def test_an_impossible_completion_is_told_all_it_broke(
    type: str, now_ns: int, is_other: bool, expected: list[str]
) -> None:
    run, recorded = interpreter(gen.clients(A))
    (op,) = run.poll(5)
    invocation = Op(7, 5, "invoke", 99, "a") if is_other else op
    with pytest.raises(InvalidCompletion) as caught:
        run.complete(now_ns, invocation, type)  # type: ignore[arg-type]
    assert len(caught.value.problems) == len(expected)
    assert all(part in problem for part, problem in zip(expected, caught.value.problems, strict=True))
    assert len(recorded) == 1


def test_a_second_completion_and_an_ok_nemesis_are_refused() -> None:
    run, _ = interpreter(gen.clients([A, A], nemesis_generator=B))
    ops = {op.process: op for op in run.poll(0)}
    run.complete(1, ops[0], "ok")
    with pytest.raises(InvalidCompletion, match="exactly once"):
        run.complete(2, ops[0], "ok")
    with pytest.raises(InvalidCompletion, match="a nemesis op ends info, not ok"):
        run.complete(2, ops[NEMESIS], "ok")


class Wrong(Generator, frozen=True):
    """Answers with this, whatever it is asked."""

    answer: Invocation

    def op(self, context: Context) -> Step:
        return self.answer, self


@pytest.mark.parametrize(
    ("invocation", "expected"),
    [
        (Invocation("", time=50, process=0), ["f is ''"]),
        (Invocation("a", time=3, process=0), ["which has passed"]),
        (Invocation("a", time=50, process=7), ["process 7 is not free"]),
        (Invocation("a", time=50), ["process is None"]),
        (Invocation(""), ["f is ''", "time is None", "process is None"]),
    ],
)
def test_an_invalid_op_of_a_generator_is_told_all_it_broke(invocation: Invocation, expected: list[str]) -> None:
    run, recorded = interpreter(Wrong(invocation))
    with pytest.raises(GeneratorError) as caught:
        run.poll(50)
    assert all(part in str(caught.value) for part in expected)
    assert not recorded


class Twice(Generator, frozen=True):
    """Answers with this twice, whoever is free."""

    answer: Invocation
    is_second: bool = False

    def op(self, context: Context) -> Step:
        return self.answer, gen.NOTHING if self.is_second else Twice(self.answer, True)


def test_a_busy_thread_gets_no_second_op() -> None:
    run, recorded = interpreter(Twice(Invocation("a", time=50, process=1)))
    with pytest.raises(GeneratorError, match="process 1 is not free"):
        run.poll(50)
    assert [op.process for op in recorded] == [1], "the first of the two"


def test_a_run_that_ends_with_a_sleep_lasts_until_its_end() -> None:
    run, _ = interpreter(gen.phases(A, gen.sleep(1e-6)))
    (op,) = run.poll(0)
    run.complete(5, op, "ok")
    assert not run.poll(5)
    assert (has_ended(run), run.wake_ns) == (False, 1005)
    assert not run.poll(1005)
    assert has_ended(run)


def test_time_that_goes_backwards_and_no_threads_are_refused() -> None:
    run, _ = interpreter(gen.clients(gen.repeat(A)))
    run.poll(5)
    with pytest.raises(ValueError, match="backwards"):
        run.poll(4)
    with pytest.raises(ValueError, match="concurrency is 0"):
        interpreter(A, concurrency=0)


LEAVES = st.sampled_from([A, B, Invocation("c", value=1)])


def _combined(inner: st.SearchStrategy[gen.Generator]) -> st.SearchStrategy[gen.Generator]:
    pairs = st.lists(inner, min_size=1, max_size=3)
    small = st.integers(0, 6)
    return st.one_of(
        pairs.map(lambda parts: gen.concat(*parts)),
        pairs.map(lambda parts: gen.phases(*parts)),
        pairs.map(lambda parts: gen.any_of(*parts)),
        pairs.map(lambda parts: gen.mix(Random(1), parts)),
        pairs.map(lambda parts: gen.flip_flop(*parts)),
        st.tuples(small, inner).map(lambda pair: gen.limit(*pair)),
        st.tuples(small, inner).map(lambda pair: gen.repeat(pair[1], pair[0])),
        st.tuples(small, inner).map(lambda pair: gen.cycle(pair[1], pair[0])),
        st.tuples(small, inner).map(lambda pair: gen.time_limit(pair[0] * 10e-9, pair[1])),
        st.tuples(small, inner).map(lambda pair: gen.delay(pair[0] * 3e-9, pair[1])),
        st.tuples(small, inner).map(lambda pair: gen.stagger(Random(2), pair[0] * 3e-9, pair[1])),
        st.tuples(small, inner).map(lambda pair: gen.process_limit(*pair)),
        inner.map(gen.each_thread),
        inner.map(gen.each_process),
        inner.map(gen.clients),
        inner.map(gen.until_ok),
        inner.map(gen.main_phase),
        st.tuples(inner, inner).map(lambda pair: gen.clients(gen.reserve(1, *pair))),
    )


def _drawn_ending(op: Op) -> Ending:
    draw = Random(f"{op.index}/{op.f}")
    return Ending(draw.choice(["ok", "fail", "info"]), draw.randrange(30), op.value)


@settings(max_examples=150, deadline=None)
@given(st.recursive(LEAVES.map(gen.lift), _combined, max_leaves=8), st.integers(2, 4), st.integers(0, 50))
def test_any_generator_makes_a_well_formed_history(generator: Generator, concurrency: int, stop_ns: int) -> None:
    """No process has two ops open, none returns after an info, time goes forward, and the same twice is the same."""

    def history() -> list[Op]:
        return simulate(generator, _drawn_ending, concurrency=concurrency, ops_max=400, stop_ns=stop_ns)

    first = history()
    assert not problems(first)
    assert history() == first


@settings(max_examples=100, deadline=None)
@given(st.recursive(LEAVES.map(gen.lift), _combined, max_leaves=6), st.integers(0, 2**64 - 1))
def test_generators_are_pure(generator: Generator, word: int) -> None:
    """Asked twice, they answer the same, and having been asked has changed nothing."""
    context = Context(7, 0b111, 0b111, (0, 1), ("n1",), word)
    for _ in range(5):
        first, second = generator.op(context), generator.op(context)
        assert (first is None) == (second is None)
        if first is None or second is None:
            break
        assert first[0] == second[0]
        generator = first[1]


REGISTER_HISTORY = """
import hashlib, sys
from random import Random
import msgspec
from harness import generators as gen
from harness.generators.simulate import Ending, simulate
from harness.workloads.base import WorkloadContext
from harness.workloads.register import RegisterOptions, RegisterWorkload

def ending(op):
    draw = Random(f"{op.index}")
    return Ending(draw.choice(["ok", "ok", "fail", "info"]), draw.randrange(10**7), op.value)

context, rng = WorkloadContext(RegisterOptions(ops_per_key=20), ("n1", "n2", "n3"), 9), Random("5/generator")
work = RegisterWorkload()
client = gen.rate(rng, 1000, work.generator(context, rng))
strikes = [gen.Invocation("start", value={"n1": ["n2"]}, time=10**8)]
main = gen.main_phase(gen.time_limit(1, gen.clients(client, nemesis_generator=strikes)))
whole = gen.phases(main, gen.nemesis(gen.Invocation("heal")), gen.clients(work.final_generator(context)))
history = simulate(whole, ending, concurrency=9)
print(len(history), hashlib.sha256(msgspec.json.encode(history)).hexdigest())
"""


def test_the_history_does_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).resolve().parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", REGISTER_HISTORY],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert int(outputs.pop().split()[0]) > 1000


def test_another_seed_gives_another_history() -> None:
    def history(seed: str) -> bytes:
        rng = Random(seed)
        context = WorkloadContext(RegisterOptions(), ("n1",), 3)
        return msgspec.json.encode(
            simulate(gen.clients(gen.limit(50, RegisterWorkload().generator(context, rng))), concurrency=3)
        )

    assert history("1/generator") != history("2/generator")
    assert history("1/generator") == history("1/generator")


def test_the_bench_measures_what_it_says() -> None:
    figures = measure(ops_count=2_000)
    assert figures["ops"] == 2_000 + 10 * 20  # The final reads: ten keys, twenty threads.
    assert figures["ops_per_s"] > 1_000, "far below what any machine reaches; make bench has the real figure"


class Promising(Interpreter):
    """Asserts that a poll that is not needed changes nothing. kept, needed: how often it was not, and was, needed."""

    kept = needed = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._needs_any = True

    def complete(self, now_ns: int, invocation: Op, *args: Any, **kwargs: Any) -> None:
        super().complete(now_ns, invocation, *args, **kwargs)
        self._needs_any = self._needs_any or self.needs_poll

    def poll(self, now_ns: int) -> Sequence[Op]:
        wake_ns, needs_any, self._needs_any = self.wake_ns, self._needs_any, False
        due = super().poll(now_ns)
        if needs_any or wake_ns is None or now_ns >= wake_ns:
            Promising.needed += 1
        else:
            assert (list(due), self.wake_ns, has_ended(self)) == ([], wake_ns, False)
            Promising.kept += 1
        return due


def test_a_poll_that_is_not_needed_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients at a rate, faults beside them, sleeps, final reads, a stop in the middle."""
    monkeypatch.setattr("harness.generators.simulate.Interpreter", Promising)
    monkeypatch.setattr(Promising, "kept", 0)
    monkeypatch.setattr(Promising, "needed", 0)
    second = 1_000_000_000
    for seed in range(6):
        rng = Random(seed)
        ops = RegisterWorkload().generator(WorkloadContext(RegisterOptions(), ("n1", "n2", "n3"), 4), rng)
        strikes = gen.timed(*((rng.random() * 3, A) for _ in range(5)), (3.0, B))
        main = gen.main_phase(gen.lasting(3, gen.clients(gen.rate(rng, 40, ops)), gen.nemesis(strikes), 5))
        whole = gen.phases(main, gen.clients(gen.sleep(0.1)), gen.clients(gen.each_thread(gen.limit(2, gen.repeat(A)))))

        def client(op: Op, rng: Random = rng) -> Ending:
            return Ending(imperfect(op).type, int(rng.expovariate(20) * second), op.value)

        simulate(whole, client, concurrency=4, seed=seed, stop_ns=None if seed % 2 else int(1.5 * second))
    assert Promising.kept > 100
    assert Promising.needed > 100
