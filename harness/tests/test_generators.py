"""What each combinator means, as tables of small virtual histories (the semantics of jepsen.generator)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import cast

import pytest

from harness import generators as gen
from harness.generators import Context, Generatable, GeneratorError, Invocation, Stream
from harness.generators.simulate import Client, Ending, imperfect, invocations, perfect, quick, simulate
from histories.op import NEMESIS, Op
from histories.wellformed import problems

A, B, C = Invocation("a"), Invocation("b"), Invocation("c")
NS = 1e-9


def forever(invocation: Invocation) -> gen.Generator:
    return gen.repeat(invocation)


def run(generator: Generatable, client: Client = perfect, concurrency: int = 2, stop_ns: int | None = None) -> list[Op]:
    """The invocations, after the history was found to be well formed."""
    history = simulate(generator, client, concurrency=concurrency, stop_ns=stop_ns)
    assert not problems(history)
    return invocations(history)


def fs(ops: list[Op]) -> str:
    return " ".join(op.f for op in ops)


def timeline(ops: list[Op]) -> list[tuple[int, str]]:
    return [(op.time, op.f) for op in ops]


def numbers(count: int | None = None, f: str = "w") -> gen.Generator:
    """Ops with the values 0, 1, 2, ..."""
    values = gen.indexed(lambda i: Invocation(f, value=i))
    return values if count is None else gen.limit(count, values)


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param(A, "a", id="an invocation is emitted once"),
        pytest.param({"f": "a", "value": 1}, "a", id="a mapping is an invocation"),
        pytest.param([A, B, None, [C, A]], "a b c a", id="a list is a sequence"),
        pytest.param(gen.concat(gen.limit(2, forever(A)), B), "a a b", id="concat"),
        pytest.param(gen.concat(A, A, A), "a a a", id="concat of the same part"),
        pytest.param(gen.limit(3, forever(A)), "a a a", id="limit"),
        pytest.param(gen.limit(0, forever(A)), "", id="limit 0"),
        pytest.param(gen.limit(3, A), "a", id="limit beyond the end"),
        pytest.param(gen.once(forever(A)), "a", id="once"),
        pytest.param(gen.repeat([A, B], 3), "a a a", id="repeat does not advance"),
        pytest.param(gen.repeat(None), "", id="repeat nothing"),
        pytest.param(gen.cycle([A, B], 2), "a b a b", id="cycle starts again"),
        pytest.param(gen.cycle(A, 0), "", id="cycle 0"),
        pytest.param(gen.cycle(None), "", id="cycle nothing"),
        pytest.param(gen.limit(5, gen.cycle([A, B])), "a b a b a", id="cycle for ever"),
        pytest.param(gen.flip_flop(forever(A), [B, C]), "a b a c a", id="flip-flop ends with the one whose turn it is"),
        pytest.param(gen.flip_flop(), "", id="flip-flop of none"),
        pytest.param(gen.phases(A, None, B), "a b", id="phases"),
        pytest.param(gen.then([A, B], C), "a b c", id="then"),
        pytest.param(gen.limit(3, lambda context: A), "a a a", id="a function is called again"),
        pytest.param(gen.limit(5, lambda context: [A, B]), "a b a b a", id="a function may return a generator"),
        pytest.param(lambda context: None, "", id="a function that returns None is exhausted"),
        pytest.param(lambda context: [], "", id="a function that returns nothing to do is exhausted"),
        pytest.param(gen.f_map({"a": "z"}, [A, B]), "z b", id="f-map"),
        pytest.param(gen.filter_ops(lambda op: op.f != "b", [A, B, C, B]), "a c", id="filter"),
        pytest.param(gen.main_phase([A, B]), "a b", id="main phase that is not stopped"),
        pytest.param(gen.any_of(), "", id="any of none"),
        pytest.param(gen.any_of(None, A), "a", id="any with an exhausted one"),
        pytest.param(gen.log("hello"), "", id="log is no op"),
        pytest.param(gen.mix(Random(1), []), "", id="mix of none"),
        pytest.param(gen.mix(Random(1), [None, A]), "a", id="mix with an exhausted one"),
    ],
)
def test_order(generator: Generatable, expected: str) -> None:
    assert fs(run(generator, concurrency=1)) == expected


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        pytest.param([A, B], [(0, "a"), (0, "b")], id="no barrier: both threads at once"),
        pytest.param(gen.phases(A, B, C), [(0, "a"), (10, "b"), (20, "c")], id="each phase waits for the one before"),
        pytest.param(gen.concat(A, gen.synchronize(B)), [(0, "a"), (10, "b")], id="synchronize"),
        pytest.param(gen.phases(A, gen.sleep(50 * NS), B), [(0, "a"), (60, "b")], id="sleep"),
        pytest.param(
            gen.delay(7 * NS, [A, B, C]), [(0, "a"), (7, "b"), (14, "c")], id="delay counts from the op itself"
        ),
        pytest.param(
            gen.time_limit(30 * NS, gen.delay(10 * NS, forever(A))),
            [(0, "a"), (10, "a"), (20, "a")],
            id="time-limit excludes its end",
        ),
        pytest.param(
            gen.phases(A, gen.time_limit(15 * NS, gen.delay(10 * NS, forever(B)))),
            [(0, "a"), (10, "b"), (20, "b")],
            id="time-limit counts from its own first op",
        ),
        pytest.param(
            gen.lasting(15 * NS, gen.delay(10 * NS, forever(A)), also=None),
            [(0, "a"), (10, "a")],
            id="lasting with nothing beside it is time-limit",
        ),
        pytest.param(
            gen.lasting(25 * NS, gen.delay(10 * NS, gen.limit(2, A)), also=gen.timed((5 * NS, B), (12 * NS, C))),
            [(0, "a"), (5, "b"), (12, "c")],
            id="lasting goes on beside what ends early",
        ),
        pytest.param(gen.lasting(0, None, also=None), [], id="lasting of nothing"),
        pytest.param(gen.timed((20 * NS, A), (30 * NS, B)), [(20, "a"), (30, "b")], id="timed"),
        pytest.param(
            gen.any_of(gen.timed((20 * NS, A)), gen.timed((5 * NS, B), (30 * NS, C))),
            [(5, "b"), (20, "a"), (30, "c")],
            id="any takes the soonest",
        ),
        pytest.param(gen.timed((20 * NS, A), (3 * NS, B)), [(20, "a"), (20, "b")], id="what is late happens at once"),
    ],
)
def test_times(generator: Generatable, expected: list[tuple[int, str]]) -> None:
    assert timeline(run(gen.clients(generator))) == expected


def test_delay_never_brings_ops_closer_when_threads_were_busy() -> None:
    slow = run(gen.clients(gen.limit(4, gen.delay(3 * NS, forever(A)))), concurrency=1)
    assert [op.time for op in slow] == [0, 10, 20, 30]


def test_what_lasting_runs_beside_is_never_lost_and_has_company_until_it_is_done() -> None:
    """Two nemesis ops that are due within the limit but take longer than it."""

    def slow_nemesis(op: Op) -> Ending:
        return Ending(latency_ns=40 if op.process == NEMESIS else 1)

    strikes = gen.timed((5 * NS, B), (10 * NS, C))
    ops = run(
        gen.lasting(20 * NS, gen.clients(gen.delay(10 * NS, forever(A))), also=gen.nemesis(strikes)), slow_nemesis
    )
    assert [(op.time, op.f) for op in ops if op.process == NEMESIS] == [(5, "b"), (45, "c")]
    assert [op.time for op in ops if op.process != NEMESIS] == [0, 10, 20, 30, 40]


def test_lasting_waits_no_longer_than_it_is_told() -> None:
    def slow_nemesis(op: Op) -> Ending:
        return Ending(latency_ns=40 if op.process == NEMESIS else 1)

    def until(late_ns: int | None) -> list[int]:
        strikes = gen.nemesis(gen.timed((5 * NS, B), (10 * NS, B), (15 * NS, B)))
        late_s = None if late_ns is None else late_ns * NS
        ops = run(gen.lasting(20 * NS, gen.clients(gen.delay(10 * NS, forever(A))), strikes, late_s), slow_nemesis)
        return [op.time for op in ops if op.process == NEMESIS]

    assert until(None) == [5, 45, 85]
    assert until(65) == [5, 45]
    assert until(66) == [5, 45, 85]
    assert until(0) == [5]


def test_stagger_keeps_its_mean_and_its_spread() -> None:
    ops = run(gen.clients(gen.limit(2000, gen.stagger(Random(3), 0.001, forever(A)))), concurrency=5)
    gaps_ns = [later.time - earlier.time for earlier, later in pairwise(ops)]
    assert sum(gaps_ns) / len(gaps_ns) == pytest.approx(1e6, rel=0.1)
    assert sum(gap < 1e6 for gap in gaps_ns) / len(gaps_ns) == pytest.approx(0.632, abs=0.05)  # 1 - 1/e


def test_rate_is_kept_by_a_driver_that_is_always_late() -> None:
    """As an event loop's timers are: each op is asked for 1 ms after it was due."""
    generator = gen.lift(gen.rate(Random(3), 200, forever(A)))
    now_ns, count, word = 0, 0, 1
    while now_ns < 20 * 10**9:
        context = Context(now_ns, 0b01, 0b11, (0,), word=word)
        step = generator.op(context)
        assert step is not None
        assert isinstance(step[0], Invocation)
        assert step[0].time is not None
        if step[0].time > now_ns:
            now_ns = step[0].time + 1_000_000
            continue
        generator, count, word = step[1], count + 1, word * 6364136223846793005 + 1
    assert count == pytest.approx(4000, rel=0.05)


def test_rate_does_not_burst_after_a_stall() -> None:
    def stalls_once(op: Op) -> Ending:
        return Ending(latency_ns=5 * 10**9 if op.time < 10**9 else 0)

    ops = run(gen.clients(gen.time_limit(8, gen.rate(Random(3), 100, forever(A)))), stalls_once, concurrency=1)
    after = [op for op in ops if 5 * 10**9 < op.time <= 5.2 * 10**9]
    assert len(after) < 60, "two tenths of a second hold 20 ops, and up to 10 that were late"


def test_rate_zero_is_as_fast_as_threads_are_free() -> None:
    assert [op.time for op in run(gen.clients(gen.rate(Random(1), 0, gen.limit(4, forever(A)))))] == [0, 0, 10, 10]


def test_mix_draws_by_weight_and_is_exhausted_with_its_last() -> None:
    generators = [gen.limit(100, forever(A)), gen.limit(900, forever(B))]
    ops = run(gen.clients(gen.mix(Random(5), generators, [1, 3])))
    assert Counter(op.f for op in ops) == {"a": 100, "b": 900}
    assert Counter(op.f for op in ops[:200])["b"] == pytest.approx(150, abs=25)


def test_mix_asks_another_when_the_one_drawn_has_nothing_for_now() -> None:
    """One nemesis op hangs; the clients' part of the mix goes on."""

    def hangs(op: Op) -> Ending:
        return Ending(latency_ns=10_000 if op.f == "b" else 10)

    mixed = gen.mix(Random(5), [gen.nemesis(forever(B)), gen.clients(forever(A))])
    ops = run(gen.time_limit(1_000 * NS, mixed), hangs)
    assert Counter(op.f for op in ops)["b"] == 1
    assert Counter(op.f for op in ops)["a"] > 150


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, 0.5]])
def test_mix_refuses_weights_that_are_none(weights: list[int]) -> None:
    with pytest.raises(GeneratorError, match="weight"):
        gen.mix(Random(1), [A, B], weights)


def test_each_thread_runs_a_copy_on_each() -> None:
    ops = run(gen.each_thread([A, B]), concurrency=3)
    assert Counter((op.process, op.f) for op in ops) == {(p, f): 1 for p in (0, 1, 2, NEMESIS) for f in "ab"}


def test_each_thread_waits_for_the_slowest_before_what_comes_next() -> None:
    def slow_zero(op: Op) -> Ending:
        return Ending(latency_ns=100 if op.process == 0 else 10)

    ops = run(gen.phases(gen.clients(gen.each_thread(A)), gen.clients(B)), slow_zero)
    assert timeline(ops) == [(0, "a"), (0, "a"), (100, "b")]


def test_each_process_begins_anew_for_the_successor_of_a_crashed_one() -> None:
    def first_crashes(op: Op) -> Ending:
        return Ending(type="info" if op.process == 0 else "ok")

    ops = run(gen.clients(gen.each_process([A, B])), first_crashes)
    assert Counter((op.process, op.f) for op in ops) == {
        (0, "a"): 1,
        (1, "a"): 1,
        (1, "b"): 1,
        (2, "a"): 1,
        (2, "b"): 1,
    }


def test_reserve_gives_each_its_threads() -> None:
    reserved = gen.reserve(2, gen.limit(10, forever(A)), 1, gen.limit(10, forever(B)), gen.limit(10, forever(C)))
    ops = run(gen.clients(reserved), concurrency=5)
    assert Counter(op.f for op in ops) == {"a": 10, "b": 10, "c": 10}
    assert {op.f: {o.process for o in ops if o.f == op.f} for op in ops} == {"a": {0, 1}, "b": {2}, "c": {3, 4}}


def test_reserve_nests_in_the_threads_that_are_left() -> None:
    inner = gen.reserve(1, gen.once(A), gen.once(B))
    ops = run(gen.clients(gen.reserve(2, None, inner)), concurrency=4)
    assert {op.f: op.process for op in ops} == {"a": 2, "b": 3}


def test_reserve_that_wants_too_many_threads_says_so() -> None:
    with pytest.raises(GeneratorError, match="wants 3 threads, but there are 2"):
        run(gen.clients(gen.reserve(3, A, B)))


@pytest.mark.parametrize("arguments", [(0, A, B), (A, 1, B), (1, A, 2), (1, 2, A)])
def test_reserve_refuses_what_does_not_alternate(arguments: tuple[int | Generatable, ...]) -> None:
    with pytest.raises(GeneratorError, match="reserve"):
        gen.reserve(*arguments)


def test_on_threads_takes_a_collection_or_a_function() -> None:
    assert {op.process for op in run(gen.on_threads({1, 3}, gen.limit(8, forever(A))), concurrency=4)} == {1, 3}
    odd = gen.on_threads(lambda thread: thread != NEMESIS and thread % 2 == 1, gen.limit(8, forever(A)))
    assert {op.process for op in run(odd, concurrency=6)} == {1, 3, 5}


def test_clients_and_nemesis_share_the_work_by_kind() -> None:
    ops = run(gen.clients(gen.limit(9, forever(A)), nemesis_generator=gen.limit(2, forever(B))), concurrency=3)
    assert {op.process for op in ops if op.f == "a"} == {0, 1, 2}
    assert [op.process for op in ops if op.f == "b"] == [NEMESIS, NEMESIS]
    assert fs(run(gen.nemesis(B, A))) in ("a b", "b a")


def test_until_ok_ends_with_the_first_ok_of_its_own() -> None:
    def ok_at_last(op: Op) -> Ending:
        return Ending(type="ok" if op.f == "b" or op.time >= 30 else "fail")

    ops = run(gen.clients(gen.reserve(1, gen.until_ok(forever(A)), gen.limit(9, forever(B)))), ok_at_last)
    assert [op.time for op in ops if op.f == "a"] == [0, 10, 20, 30]


def test_until_ok_for_each_thread_survives_crashes() -> None:
    ops = run(gen.clients(gen.each_thread(gen.until_ok(forever(A)))), imperfect, concurrency=4)
    last_by_thread = {op.process % 4 for op in ops if op.process != NEMESIS}
    assert last_by_thread == {0, 1, 2, 3}


def test_process_limit_counts_crashed_processes() -> None:
    ops = run(gen.clients(gen.process_limit(5, forever(A))), lambda op: Ending(type="info"), concurrency=3)
    assert len({op.process for op in ops}) == 5


def test_process_limit_below_the_number_of_threads_keeps_to_those_it_chose() -> None:
    ops = run(gen.clients(gen.limit(20, gen.process_limit(2, forever(A)))), concurrency=5)
    assert len(ops) == 20
    assert len({op.process for op in ops}) == 2


def test_map_transforms_and_keeps_time_and_process() -> None:
    def marked(op: Invocation) -> Invocation:
        return Invocation(op.f, op.key, "marked", op.time, op.process)

    ops = run(gen.clients(gen.map_ops(marked, gen.timed((5 * NS, A)))))
    assert [(op.time, op.f, op.value) for op in ops] == [(5, "a", "marked")]


def test_filter_over_random_ops_goes_on_drawing() -> None:
    draws = gen.random_calls(Random(2), lambda context, stream: Invocation("r", value=stream.below(100)))
    ops = run(gen.clients(gen.limit(50, gen.filter_ops(lambda op: op.value < 5, draws))))
    assert {op.value for op in ops} == {0, 1, 2, 3, 4}


def test_filter_that_takes_nothing_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(GeneratorError, match="refused"):
        run(gen.filter_ops(lambda op: False, forever(A)))


def test_on_update_sees_invocations_and_completions() -> None:
    heard: list[tuple[str, str]] = []

    def hears(generator: gen.Generator, context: Context, event: Op) -> gen.Generator:
        heard.append((event.type, event.f))
        return generator.update(context, event)

    run(gen.on_update(hears, gen.clients([A, B])), concurrency=1)
    assert heard == [("invoke", "a"), ("ok", "a"), ("invoke", "b")], "then it is exhausted, and nobody tells it more"


def test_trace_tells_what_was_asked_and_answered() -> None:
    lines: list[str] = []
    run(gen.trace("t", A, lines.append), concurrency=1)
    assert [line.split()[1] for line in lines] == ["op", "update", "op"]


def test_log_reaches_the_log_in_order_and_not_the_history() -> None:
    messages: list[str] = []
    history = simulate(gen.phases(gen.log("one"), A, gen.log("two")), log=messages.append)
    assert messages == ["one", "two"]
    assert [op.f for op in history] == ["a", "a"]


def test_stop_ends_the_main_phase_and_what_follows_still_runs() -> None:
    whole = gen.phases(gen.main_phase(gen.clients(gen.delay(10 * NS, forever(A)))), gen.nemesis(B), gen.clients(C))
    assert timeline(run(whole, stop_ns=35)) == [(0, "a"), (10, "a"), (20, "a"), (30, "a"), (40, "b"), (50, "c")]


def test_concurrent_keys_move_on_group_by_group() -> None:
    def make(key: int) -> gen.Generator:
        return gen.limit(10, gen.repeat(Invocation("r", key=key)))

    ops = run(gen.clients(gen.concurrent_keys(7, 3, make, keys_max=5)), imperfect, concurrency=7)
    assert Counter(op.key for op in ops) == dict.fromkeys(range(5), 10)
    for key in range(5):
        threads = {int(op.process) % 7 for op in ops if op.key == key}
        assert threads <= {0, 1, 2, 3} or threads <= {4, 5, 6}
    first_uses = list(dict.fromkeys(op.key for op in ops))
    assert first_uses == sorted(first_uses)


def test_ops_are_spread_over_threads_at_low_rates() -> None:
    """A generator that always took the first free thread would ask one node only."""
    ops = run(gen.clients(gen.limit(1000, gen.rate(Random(1), 10, forever(A)))), concurrency=10)
    counts = Counter(op.process for op in ops)
    assert set(counts) == set(range(10))
    assert min(counts.values()) > 50


def test_quick_clients_never_let_time_pass() -> None:
    assert {op.time for op in run(gen.clients(numbers(50)), quick)} == {0}


def test_streams_are_uniform_enough() -> None:
    stream = Stream(7)
    counts = Counter(stream.below(10) for _ in range(10_000))
    assert min(counts.values()) > 850
    assert max(counts.values()) < 1150
    assert all(0 <= stream.random() < 1 for _ in range(1000))
    assert stream.choice("x") == "x"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: gen.lift("read"), "not a generator: 'read'"),
        (lambda: gen.lift(cast(Generatable, 5)), "not a generator: 5"),
        (lambda: gen.lift({"f": "a", "valeu": 1}), "valeu"),
        (lambda: gen.lift({"value": 1}), "`f`"),
        (lambda: gen.limit(-1, A), "limit is -1"),
        (lambda: gen.repeat(A, -2), "repeat is -2"),
        (lambda: gen.time_limit(-1, A), "time-limit is -1"),
        (lambda: gen.lasting(-1, A, B), "lasting's limit is -1"),
        (lambda: gen.delay(float("nan"), A), "delay's interval is nan"),
        (lambda: gen.rate(Random(1), float("inf"), A), "rate is inf"),
        (lambda: gen.sleep(-0.5), "sleep is -0.5"),
        (lambda: gen.concurrent_keys(0, 1, lambda key: gen.lift(A)), "concurrency is 0"),
    ],
)
def test_nonsense_is_refused_when_built(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(GeneratorError, match=message):
        build()


def test_a_generator_for_threads_that_its_context_lacks_is_exhausted() -> None:
    ops = run(gen.phases(gen.each_thread(gen.clients(A)), gen.clients(gen.nemesis(B)), gen.clients(C)))
    assert fs(ops) == "a a c"


def test_a_generator_that_waits_for_nothing_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(GeneratorError, match="waits"):
        run(Invocation("a", process=77))
