"""The register workload: bounded keys, values that show staleness, final reads, a checker that finds it."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from checkers.verdict import Validity, Verdict
from harness import generators as gen
from harness.generators.simulate import Ending, simulate
from harness.workloads import registry
from harness.workloads.base import Workload, WorkloadContext
from harness.workloads.claims import choose_checkers
from harness.workloads.register import RegisterOptions, RegisterWorkload
from histories.history import History
from histories.op import Op
from histories.wellformed import problems

WORKLOAD = RegisterWorkload()
NODES = ("n1", "n2", "n3")


class Store:
    """Registers as a simulated client sees them. stale_every: each so-many-th read is answered with the value
    before."""

    def __init__(self, stale_every: int = 0) -> None:
        self.values: dict[object, list[object]] = {}
        self.stale_every = stale_every
        self.reads = 0

    def __call__(self, op: Op) -> Ending:
        values = self.values.setdefault(op.key, [None])
        match op.f:
            case "read":
                self.reads += 1
                is_stale = self.stale_every and self.reads % self.stale_every == 0 and len(values) > 10
                return Ending(value=values[-11] if is_stale else values[-1])
            case "write":
                values.append(op.value)
                return Ending(value=op.value)
            case _:
                if values[-1] != op.value[0]:
                    return Ending("fail", value=op.value)
                values.append(op.value[1])
                return Ending(value=op.value)


def context(options: RegisterOptions | None = None, concurrency: int = 6) -> WorkloadContext:
    return WorkloadContext(options or RegisterOptions(), NODES, concurrency)


def history_of(options: RegisterOptions, store: Store, ops_count: int = 600) -> History:
    run, rng = context(options), Random("3/generator")
    whole = gen.phases(
        gen.clients(gen.limit(ops_count, WORKLOAD.generator(run, rng))), gen.clients(WORKLOAD.final_generator(run))
    )
    history = simulate(whole, store, concurrency=6, nodes=NODES)
    assert not problems(history)
    return History(history)


def invoked(history: History) -> list[Op]:
    return [op for op in history if op.type == "invoke"]


def test_each_key_gets_its_ops_and_makes_place_for_the_next() -> None:
    history = history_of(RegisterOptions(ops_per_key=50, threads_per_key=3, final_keys=0), Store())
    assert Counter(op.key for op in invoked(history)) == dict.fromkeys(range(12), 50)


def test_unique_values_are_written_once_to_a_key() -> None:
    history = history_of(RegisterOptions(ops_per_key=100), Store())
    written = [
        (op.key, op.value if op.f == "write" else op.value[1]) for op in invoked(history) if op.f in ("write", "cas")
    ]
    assert len(written) == len(set(written))


def test_most_cas_succeed_and_some_cannot() -> None:
    history = history_of(RegisterOptions(ops_per_key=100), Store(), ops_count=2000)
    ends = Counter(op.type for op in history if op.f == "cas" and op.type != "invoke")
    assert ends["ok"] > 80
    assert ends["fail"] > 20


def test_weights_choose_the_mix() -> None:
    history = history_of(RegisterOptions(read=0, write=1, cas=1, final_keys=0), Store())
    assert {op.f for op in history} == {"write", "cas"}


def test_small_values_stay_small() -> None:
    history = history_of(RegisterOptions(values="small", values_max=3, final_keys=0), Store())
    assert {op.value for op in invoked(history) if op.f == "write"} == {0, 1, 2}


def test_every_thread_reads_the_latest_keys_in_the_end() -> None:
    history = history_of(RegisterOptions(ops_per_key=50, final_keys=4), Store())
    final = invoked(history)[600:]
    latest = sorted({op.key for op in invoked(history)[:600]})[-4:]
    assert Counter((op.process, op.key) for op in final) == {(p, key): 1 for p in range(6) for key in latest}
    assert {op.f for op in final} == {"read"}


def test_final_reads_are_tried_again_and_end_in_bounded_time() -> None:
    def never_again(op: Op) -> Ending:
        return Ending("ok" if op.index < 100 else "fail", value=op.value)

    options = RegisterOptions(final_keys=2, final_time_limit_s=1.0)
    run, rng = context(options), Random(1)
    whole = gen.phases(
        gen.clients(gen.limit(50, WORKLOAD.generator(run, rng))), gen.clients(WORKLOAD.final_generator(run))
    )
    final = [op for op in simulate(whole, never_again, concurrency=6) if op.type == "invoke"][50:]
    assert len(final) == 6 * 20, "one try each 50 ms for 1 s, on each thread"
    assert final[-1].time - final[0].time < 10**9


def test_no_final_reads_of_keys_that_nobody_used() -> None:
    assert simulate(gen.clients(WORKLOAD.final_generator(context()))) == []
    assert WORKLOAD.final_generator(context(RegisterOptions(final_keys=0))) is None


def judge(history: History, context: WorkloadContext) -> Verdict:
    (checker,) = choose_checkers("linearizable", WORKLOAD, claimed_by="the store claims")
    return checker.check(history, context)


@pytest.mark.parametrize("values", ["unique", "small"])
def test_a_sound_store_is_valid(values: str) -> None:
    options = msgspec.convert({"values": values}, RegisterOptions)
    verdict = judge(history_of(options, Store()), context(options))
    assert verdict.validity is Validity.VALID


@pytest.mark.parametrize("stale_every", [20, 150])
def test_a_stale_read_is_found(stale_every: int) -> None:
    options = RegisterOptions()
    verdict = judge(history_of(options, Store(stale_every)), context(options))
    assert verdict.validity is Validity.INVALID


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"ops_per_kay": 5}, "ops_per_kay"),
        ({"ops_per_key": 0}, "ops_per_key"),
        ({"values": "odd"}, "values"),
        ({"read": -1}, "read"),
        ({"write": 0}, "proves nothing"),
        ({"final_time_limit_s": 0}, "final_time_limit_s"),
    ],
)
def test_options_that_are_misspelt_or_nonsense_are_refused(raw: dict[str, object], message: str) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError), match=message):
        msgspec.convert(raw, RegisterOptions)


def test_it_is_found_by_name_and_by_path() -> None:
    assert "register" in registry.names()
    assert isinstance(registry.find("register"), Workload)
    assert registry.find("harness.workloads.register:RegisterWorkload").name == "register"
    for unknown in ("registre", ":x", "x:"):
        with pytest.raises(LookupError):
            registry.find(unknown)
    with pytest.raises(ValueError, match=r"it is no Workload \(harness\.workloads\.base\), for it lacks data_type, "):
        registry.find("harness.workloads.register:RegisterOptions")
    with pytest.raises(ImportError):
        registry.find("harness.workloads.nowhere:Workload")


def test_writes_that_nobody_reads_prove_nothing() -> None:
    with pytest.raises(ValueError, match="prove nothing"):
        RegisterOptions(read=0, cas=0, final_keys=0)
    RegisterOptions(read=0, cas=1, final_keys=0)
