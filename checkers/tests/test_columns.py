"""The encoder of long histories gives what its pure twin gives, and so the same verdicts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.availability import availability
from checkers.linearizability import linearizable
from checkers.linearizability.encode import Entries, encode_columns, encode_pure
from checkers.models import registry
from checkers.recovery import recovery
from checkers.tests import random_histories
from checkers.vacuity import VacuityThresholds, vacuity
from histories import History, Op
from histories.columns import OpColumns
from histories.tests.strategies import histories, unhurried
from histories.wellformed import MalformedHistory

values = (
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from([1.0, -0.0, 0.0, "1", [1, 2], [1, True], {"a": [1]}])
)


def told(parts: dict[Any, Entries]) -> dict[Any, Any]:
    return {
        key: (repr(part.operations), part.op, part.call, part.end, part.returns, list(part))
        for key, part in parts.items()
    }


@unhurried
@given(
    histories(values, keys=st.none() | st.sampled_from([1, "a", [1], True])),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_the_encoders_agree(ops: list[Op], by_key: bool, refused: bool, nil_reads: bool) -> None:
    options: Any = {"by_key": by_key, "refused": refused, "nil_reads": nil_reads}
    pure, columns = encode_pure(ops, **options), encode_columns(OpColumns(ops), **options)
    assert list(pure) == list(columns)
    assert told(pure) == told(columns)


@pytest.mark.parametrize("broken", [["invoke", "invoke"], ["ok"], ["invoke", "ok", "info"]])
def test_a_malformed_history_is_refused_in_the_same_words(broken: list[Any]) -> None:
    ops = [Op(i, i, type, 0, "read") for i, type in enumerate(broken)]
    options: Any = {"by_key": True, "refused": False, "nil_reads": False}
    with pytest.raises(MalformedHistory) as pure:
        encode_pure(ops, **options)
    with pytest.raises(MalformedHistory) as ours:
        encode_columns(OpColumns(ops), **options)
    assert str(pure.value) == str(ours.value)


@pytest.mark.parametrize("name", ["register", "cas-register", "fifo-queue"])
def test_verdicts_are_the_same(name: str) -> None:
    model = registry.find(name)
    for seed in range(150):
        history = random_histories.random_history(name, random_histories.seeded(seed))
        compact = History(OpColumns(history))
        plain, ours = linearizable(history, model), linearizable(compact, model)
        assert (plain.validity, plain.reason, plain.evidence) == (ours.validity, ours.reason, ours.evidence)
        for check in (availability, recovery, lambda each: vacuity(each, VacuityThresholds())):
            assert check(history) == check(compact)
