"""Many seeds: order, processes, stopping early, the command that runs one again, and comparing runs."""

from __future__ import annotations

import shlex
from concurrent.futures import Executor, Future
from itertools import pairwise
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.campaign.command_line import command_line
from harness.errors import UsageError
from harness.report.difference import first_difference
from harness.spec import RunSpec

SHORT = RunSpec(env="sim", nemesis=("partition", "kill"), time_limit_s=4.0, interval_s=1.0, concurrency=10)


def test_results_come_in_the_order_of_the_seeds() -> None:
    results = list(sweep.sweep(SHORT, range(5, 8)))
    assert [result.seed for result in results] == [5, 6, 7]
    assert all(result.cpu_s > 0 and result.virtual_s > 4 for result in results)


@pytest.mark.real
@pytest.mark.long
def test_processes_find_what_one_process_finds() -> None:
    alone = list(sweep.sweep(SHORT, range(1, 4), with_digests=True))
    together = list(sweep.sweep(SHORT, range(1, 4), jobs=2, with_digests=True))
    assert [(result.seed, result.history_digest, result.trace_digest) for result in alone] == [
        (result.seed, result.history_digest, result.trace_digest) for result in together
    ]


def test_fail_fast_ends_with_the_first_seed_that_is_not_valid() -> None:
    spec = RunSpec(env="sim", bugs=("stale-read",), time_limit_s=10.0, concurrency=10, nemesis=("partition",))
    results = list(sweep.sweep(spec, range(1, 50), fail_fast=True))
    assert len(results) < 49
    assert results[-1].validity is Validity.INVALID
    assert all(result.validity is Validity.VALID for result in results[:-1])


class Counting(Executor):
    """Runs each call when its result is asked for, and counts."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


def test_fail_fast_ends_a_sweep_on_several_workers_too() -> None:
    spec = RunSpec(env="sim", bugs=("stale-read",), time_limit_s=4.0, concurrency=10, nemesis=("partition",))
    executor = Counting()
    results = list(sweep.sweep_on(executor, spec, range(1, 30), jobs=1, fail_fast=True))
    assert [result.validity is Validity.VALID for result in results] == [True] * (len(results) - 1) + [False]
    assert executor.submitted < len(results) + sweep.AHEAD


def test_not_everything_is_handed_out_at_once() -> None:
    executor = Counting()
    results = sweep.sweep_on(executor, SHORT, range(1, 1000), jobs=1)
    next(results)
    results.close()
    assert executor.submitted == sweep.AHEAD


@pytest.mark.parametrize(
    ("spec", "seeds", "jobs", "words"),
    [
        (SHORT, range(0), 1, "no seeds"),
        (SHORT, range(1, 3), 0, "jobs"),
        (RunSpec(env="local"), range(1, 3), 1, "sim"),
        (RunSpec(env="sim", bugs=("no-such-bug",)), range(1, 3), 1, "no-such-bug"),
        (RunSpec(env="sim", env_options={"transport": "pigeon"}), range(1, 3), 1, "pigeon"),
    ],
)
def test_bad_input_is_refused(spec: RunSpec, seeds: range, jobs: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(sweep.sweep(spec, seeds, jobs))


def test_the_command_says_everything_that_is_not_as_by_default() -> None:
    spec = RunSpec(
        env="sim",
        bugs=("vote-twice",),
        nemesis=("kill", "partition:ring"),
        seed=7,
        nodes=("a", "b", "c"),
        concurrency=6,
        rate_hz=50.0,
        time_limit_s=12.5,
        beyond_model=True,
        target_options={"reads": "log"},
        env_options={"transport": "stream", "slow_nodes_ms": {"a": 2}},
    )
    words = shlex.split(command_line(spec))
    assert words[:3] == ["themis", "test", "--env"]
    assert words[words.index("--nodes") + 1] == "a,b,c"
    assert words[words.index("--bug") + 1] == "vote-twice"
    assert words[words.index("--nemesis") + 1] == "kill,partition:ring"
    assert words[words.index("--seed") + 1] == "7"
    assert words[words.index("--time-limit") + 1] == "12.5"
    assert "--beyond-model" in words
    assert 'slow_nodes_ms={"a":2}' in words


def test_every_flag_of_the_command_is_one_of_themis_test() -> None:
    from harness.cli.run import test as themis_test

    known = {flag for parameter in themis_test.params for flag in parameter.opts}
    spec = RunSpec(
        env="sim",
        bugs=("vote-twice",),
        seed=7,
        rate_hz=50.0,
        interval_s=1.0,
        quiet_s=0.5,
        client_timeout_s=1.0,
        check_states=5,
        check_time_limit_s=3.0,
        beyond_model=True,
        vacuity={"ok_min": 3},
        target_options={"reads": "log"},
        workload_options={"keys_max": "3"},
        env_options={"transport": "stream"},
    )
    flags = {word for word in shlex.split(command_line(spec)) if word.startswith("--")}
    assert flags <= known


def test_the_first_difference_is_named() -> None:
    assert first_difference(b"a\nb\n", b"a\nb\n") is None
    assert "line 2 was\n  b\nand is now\n  c" in str(first_difference(b"a\nb\n", b"a\nc\n"))
    assert "had 1 lines and has 2 now" in str(first_difference(b"a\n", b"a\nb\n"))


def test_each_seed_of_a_sweep_draws_its_own_interval_and_the_command_names_it() -> None:
    spec = RunSpec(env="sim", interval_s=4.0)
    drawn = [sweep.spec_of_seed(spec, seed) for seed in range(1, 200)]
    assert drawn == [sweep.spec_of_seed(spec, seed) for seed in range(1, 200)]
    assert all(0.5 <= one.interval_s <= 4.0 for one in drawn)
    assert min(one.interval_s for one in drawn) < 0.7 < 3.0 < max(one.interval_s for one in drawn)
    assert f"--nemesis-interval {drawn[0].interval_s:g} " in command_line(drawn[0])


def test_the_printed_command_gives_the_same_numbers_again() -> None:
    words = shlex.split(command_line(RunSpec(env="sim", calm_share=4 / 15, check_states=10_000_000, rate_hz=50)))
    told = dict(pairwise(words))
    assert float(told["--calm-share"]) == 4 / 15
    assert (told["--check-states"], told["--rate"]) == ("10000000", "50")
