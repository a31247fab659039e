"""Keys decided by workers elsewhere: the verdict is what it is here, whatever fails on the way."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from msgspec.structs import replace

from checkers.evidence import Linearizability
from checkers.linearizability import linearizable
from checkers.linearizability.check import fitting_entries
from checkers.linearizability.locality import split
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.spread import lots
from checkers.linearizability.wording import in_words, plain
from checkers.models.registry import find
from checkers.tests.random_histories import random_history, seeded
from checkers.verdict import Validity
from histories.history import History
from histories.op import Op


class Afar(Executor):
    """Runs each call when it is handed out, on copies that went over a wire. late: of so many, no answer comes; broken: what a
    worker raises instead."""

    def __init__(self, late: int = 0, broken: Exception | None = None) -> None:
        self.lots: list[int] = []
        self._late, self._broken = late, broken

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        call, arguments = pickle.loads(pickle.dumps((call, arguments)))
        self.lots.append(len(arguments[0]))
        if self._broken is not None:
            future.set_running_or_notify_cancel()
            future.set_exception(self._broken)
        elif len(self.lots) > self._late:
            future.set_running_or_notify_cancel()
            future.set_result(pickle.loads(pickle.dumps(call(*arguments, **named))))
        return future


def of_keys(name: str, seed: int, keys: int) -> History:
    """Histories of single keys, one after the other in time, as the history of one system."""
    ops: list[Op] = []
    for key in range(keys):
        for op in random_history(name, seeded(seed * 100 + key), ops_max=6):
            process = op.process + 100 * key if isinstance(op.process, int) else op.process
            ops.append(replace(op, index=len(ops), time=len(ops), key=f"k{key}", process=process))
    return History(ops)


def wrong_keys(history: History, name: str) -> set[str]:
    """Those whose operations are not linearizable by themselves, in words."""
    model = find(name)
    by_key, model = fitting_entries(history, model)
    parts = split(by_key, model)
    return {
        in_words(plain(key))
        for key, part in parts.items()
        if decide(part.entries, part.model).validity is Validity.INVALID
    }


@pytest.mark.parametrize("name", ["cas-register", "fifo-queue", "set", "kv-map", "mutex"])
def test_the_verdict_is_what_it_is_in_one_process(name: str) -> None:
    seen = set()
    for seed in range(40):
        history = of_keys(name, seed, 1 + seed % 7)
        here = linearizable(history, find(name))
        there = linearizable(history, find(name), executor=Afar(), jobs=2)
        assert there.validity is here.validity
        seen.add(here.validity)
        if here.validity is Validity.VALID:
            assert there.evidence == here.evidence
        else:
            # Another key may be the first that is refuted.
            evidence = there.evidence_of(Linearizability)
            assert evidence.refuted
            keys = {in_words(each.key) for each in evidence.refuted}
            assert keys <= wrong_keys(history, name)
    assert seen == {Validity.VALID, Validity.INVALID}


def test_lots_are_alike_and_hold_every_key_once() -> None:
    history = of_keys("register", 3, 40)
    model = find("register")
    by_key, model = fitting_entries(history, model)
    parts = split(by_key, model)
    found = lots(parts, 8)
    assert sorted(str(key) for lot in found for key in lot) == sorted(map(str, parts))
    sizes = [sum(len(parts[key].entries) for key in lot) for lot in found]
    assert max(sizes) - min(sizes) <= 6
    assert lots(parts, 1000) == [[key] for key in sorted(parts, key=lambda key: -len(parts[key].entries))]


def test_a_worker_that_does_not_answer_leaves_its_keys_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkers.linearizability.spread.ANSWER_S", 0.05)
    seed = next(
        seed
        for seed in range(99)
        if linearizable(of_keys("register", seed, 5), find("register")).validity is Validity.VALID
    )
    began_s = time.monotonic()
    verdict = linearizable(
        of_keys("register", seed, 5), find("register"), executor=Afar(late=2), jobs=1, time_limit_s=0.1
    )
    assert verdict.validity is Validity.UNKNOWN
    assert "before a worker had decided it" in verdict.reason
    assert time.monotonic() - began_s < 60


def test_a_lost_worker_is_no_verdict() -> None:
    with pytest.raises(OSError, match="lost"):
        linearizable(of_keys("register", 1, 3), find("register"), executor=Afar(broken=OSError("lost")), jobs=1)
