"""A monitor is believed where a second algorithm agrees; where it does not, the search decides."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from checkers.linearizability import linearizable, native
from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.monitors import confirming, portfolio
from checkers.linearizability.monitors.confirming import NOT_CONFIRMED
from checkers.linearizability.monitors.monitor import Decision, Monitor, Twins, invalid
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.search import Core
from checkers.models.containers import SetModel
from checkers.models.model import Model
from checkers.models.registry import find
from checkers.tests.monitor_cases import CASES, in_words, refute
from checkers.tests.monitor_histories import SetMix
from checkers.verdict import Validity
from histories.builder import h

FINE = "p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke dequeue | p0 ok dequeue 1"
WRONG = "p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke dequeue | p0 ok dequeue 2"


def everything(part: Entries, _: Model) -> Decision:
    """A monitor that refutes whatever it is given."""
    return invalid(range(len(part)))


def with_monitor(monkeypatch: pytest.MonkeyPatch, monitor: Monitor) -> None:
    monkeypatch.setattr(portfolio, "monitor_of", lambda _: Twins("wrong monitor", monitor))


def test_a_core_is_confirmed() -> None:
    verdict = linearizable(h(WRONG), find("fifo-queue"))
    assert verdict.validity is Validity.INVALID
    assert verdict.stats["decided_by"] == {"queue monitor": 1}
    assert verdict.stats["core_confirmed_by"] == {"second algorithm": 1}


def test_a_core_that_is_linearizable_goes_to_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    with_monitor(monkeypatch, everything)
    verdict = linearizable(h(FINE), find("fifo-queue"))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["monitor_undecided"] == {NOT_CONFIRMED: 1}
    assert "wrong monitor" not in verdict.stats["decided_by"]


def test_where_the_search_does_not_decide_either_nothing_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    with_monitor(monkeypatch, everything)
    result = decide(entries(h(FINE)), find("fifo-queue"), time_limit_s=0)
    assert result.validity is Validity.UNKNOWN
    assert NOT_CONFIRMED in result.reason


def test_a_second_algorithm_that_crashes_costs_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> int | None:
        raise RuntimeError("no")

    monkeypatch.setattr(confirming, "failing_return", crash)
    result = decide(entries(h(WRONG)), find("fifo-queue"))
    assert result.validity is Validity.INVALID
    assert "crashed" in result.stats["monitor"]


@pytest.mark.parametrize("core", ["pure", "native"])
def test_who_confirms_a_core_that_is_too_long_for_the_verifier(monkeypatch: pytest.MonkeyPatch, core: Core) -> None:
    if core == "native" and native.monitors is None:
        core = "pure"
    part = entries(h(WRONG))
    monkeypatch.setattr(confirming, "VERIFIER_MAX", 0)
    assert decide(part, find("fifo-queue"), core=core).stats["core_confirmed_by"] == "search"
    monkeypatch.setattr(confirming, "SEARCH_MAX", 0)
    confirmed_by = decide(part, find("fifo-queue"), core=core).stats["core_confirmed_by"]
    assert confirmed_by == ("pure twin" if core == "native" else "nothing else yet: 1 operations")
    monkeypatch.setattr(confirming, "TWIN_MAX", 0)
    assert decide(part, find("fifo-queue"), core=core).stats["core_confirmed_by"].startswith("nothing else yet")


def test_the_search_contradicts_a_monitor_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirming, "VERIFIER_MAX", 0)
    with_monitor(monkeypatch, everything)
    assert decide(entries(h(FINE)), find("fifo-queue")).stats["monitor"] == NOT_CONFIRMED


def test_the_core_of_a_log_is_confirmed() -> None:
    """It holds every append that the longest read shows."""
    ops = [f"p0 invoke append {v} | p0 ok append {v}" for v in range(300)]
    shown = ",".join(map(str, range(300)))
    ops += [f"p0 invoke read | p0 ok read [{shown}]", f"p0 invoke read | p0 ok read [{shown[: shown.rindex(',')]}]"]
    result = decide(entries(h(" | ".join(ops))), find("list-append"))
    assert result.validity is Validity.INVALID
    assert len(result.core) > 100
    assert result.stats["core_confirmed_by"] == "order of the log"


def test_the_caller_may_confirm_the_core_itself() -> None:
    assert "core_confirmed_by" not in decide(entries(h(WRONG)), find("fifo-queue"), confirms_core=False).stats


COMING_BACK = tuple(
    SetMix(crashed=crashed, wrong=wrong, add=4, remove=3, contains=4, value_count=value_count)
    for crashed in (0, 0.2)
    for wrong in (0, 0.1, 0.3)
    for value_count in (2, 3)
)


def sets_agree_with_brute_force(seeds: range, operations: int = 7) -> tuple[int, int]:
    """How many sets whose values come back are linearizable and how many are not; none with a wrong verdict."""
    case = msgspec.structs.replace(CASES["set"], mixes=COMING_BACK)
    valid_count = invalid_count = 0
    for seed in seeds:
        part = case.history(seed, operations, 4)
        model = find("set") if Random(seed).random() < 0.7 else SetModel([0, 1])
        result = decide(part, model)
        decision = Decision(result.validity, linearization=result.linearization or (), core=result.core)
        if result.validity is Validity.INVALID and not result.core:
            decision = invalid(range(len(part)))  # Where one value is all there is, the search has no core.
        wrong = refute(part, model, decision)
        assert wrong is None, (seed, wrong, result, *in_words(part))
        assert result.validity is not Validity.UNKNOWN
        valid_count += result.validity is Validity.VALID
        invalid_count += result.validity is Validity.INVALID
    return valid_count, invalid_count


def test_sets_whose_values_come_back_agree_with_brute_force() -> None:
    valid_count, invalid_count = sets_agree_with_brute_force(range(500))
    assert valid_count > 100
    assert invalid_count > 50


@pytest.mark.soak
def test_sets_whose_values_come_back_agree_with_brute_force_on_30_000_histories() -> None:
    sets_agree_with_brute_force(range(1_000_000, 1_030_000))


def test_a_value_that_comes_back_costs_the_others_nothing() -> None:
    """Forty values, each open together with all others: as one set they would be searched for ever."""
    ops = [f"p{v} invoke add {v}" for v in range(40)] + [f"p{v} ok add {v}" for v in range(40)]
    ops += [f"p{v} invoke remove {v}" for v in range(40)] + [f"p{v} ok remove {v}" for v in range(40)]
    ops += [f"p{v} invoke add {v}" for v in range(40)] + [f"p{v} ok add {v}" for v in range(40)]
    verdict = linearizable(h(" | ".join(ops)), find("set"))
    assert verdict.validity is Validity.VALID
    later = [*ops, "p0 invoke remove 7", "p0 ok remove 7", "p0 invoke contains 7", "p0 ok contains true"]
    verdict = linearizable(h(" | ".join(later)), find("set"))
    assert verdict.validity is Validity.INVALID
