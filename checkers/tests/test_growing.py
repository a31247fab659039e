"""The second decision about logs that only grow agrees with brute force, and says where it has nothing to say."""

from __future__ import annotations

from collections import Counter

import pytest

from checkers import brute
from checkers.linearizability.encode import Entries, entries, part
from checkers.linearizability.growing import is_refuted
from checkers.models.containers import ListAppend
from checkers.models.model import Model
from checkers.models.register import KeyValue
from checkers.tests.monitor_cases import in_words
from checkers.tests.register_histories import model_of, random_entries
from histories.builder import h


def without_puts(history: Entries) -> Entries:
    return part(history, [i for i, number in enumerate(history.op) if history.operations[number].f != "put"])


@pytest.mark.parametrize("kind", ["list-append", "kv-append"])
def test_it_agrees_with_brute_force(kind: str) -> None:
    found: Counter[bool | None] = Counter()
    model = model_of(kind)
    for seed in range(700):
        history = without_puts(random_entries(kind, seed, 7, 4))
        refuted = is_refuted(history, model)
        found[refuted] += 1
        if refuted is not None:
            assert refuted == (brute.linearization(history, model) is None), in_words(history)
    assert min(found[True], found[False]) > 100
    assert found[None] > 10


LOG = [
    pytest.param(ListAppend(), "p0 invoke read | p0 ok read [1]", True, id="nobody appended it"),
    pytest.param(ListAppend(), "p0 invoke read | p1 invoke append 1 | p0 ok read [1]", False, id="a crashed append"),
    pytest.param(ListAppend(), "p0 invoke read | p0 ok read [1] | p1 invoke append 1", True, id="from the future"),
    pytest.param(
        ListAppend(),
        "p0 invoke append 1 | p0 ok append 1 | p1 invoke append 2 | p0 invoke read | p0 ok read [2,1]",
        True,
        id="two appends the wrong way round",
    ),
    pytest.param(
        ListAppend(),
        "p0 invoke append 1 | p1 invoke append 2 | p0 ok append 1 | p1 ok append 2 | p0 invoke read | p0 ok read [2,1]",
        False,
        id="two appends at once",
    ),
    pytest.param(ListAppend(), "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read []", True, id="lost"),
    pytest.param(
        ListAppend(), "p0 invoke append 1 | p1 invoke read | p0 ok append 1 | p1 ok read []", False, id="not yet there"
    ),
    pytest.param(
        ListAppend(),
        "p0 invoke append 1 | p1 invoke read | p1 ok read [1] | p1 invoke read | p1 ok read [] | p0 ok append 1",
        True,
        id="stale",
    ),
    pytest.param(ListAppend([1]), "p0 invoke read | p0 ok read [1]", False, id="there at first"),
    pytest.param(ListAppend([1]), "p0 invoke read | p0 ok read []", True, id="what was there at first is gone"),
    pytest.param(ListAppend([1]), "p0 invoke read | p0 ok read [2]", True, id="another beginning"),
    pytest.param(
        ListAppend([1]),
        "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read [1,1]",
        False,
        id="once more",
    ),
    pytest.param(
        ListAppend(),
        "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read [1,1]",
        True,
        id="twice in a read",
    ),
    pytest.param(ListAppend(), "p0 invoke append 1 | p1 invoke append 1", None, id="appended twice"),
    pytest.param(KeyValue(), "p0 invoke put x | p0 ok put x", None, id="a put"),
    pytest.param(KeyValue(), "p0 invoke delete | p0 ok delete", None, id="a delete"),
    pytest.param(KeyValue(), "p0 invoke get | p0 ok get null", False, id="absent"),
    pytest.param(KeyValue("a"), "p0 invoke get | p0 ok get null", True, id="absent though it was there at first"),
    pytest.param(KeyValue(""), "p0 invoke get | p0 ok get null", None, id="an empty text at first"),
    pytest.param(KeyValue(), "p0 invoke get | p0 ok get 1", None, id="no text"),
    pytest.param(
        KeyValue(),
        "p0 invoke append ab | p1 invoke get | p1 ok get a | p1 invoke get | p1 ok get ab | p0 ok append ab",
        True,
        id="half a piece",
    ),
    pytest.param(
        KeyValue(),
        "p0 invoke append a | p1 invoke append ab | p2 invoke append b | p0 ok append a | p0 invoke get | p0 ok get ab",
        None,
        id="two ways",
    ),
    pytest.param(
        KeyValue("x"), "p0 invoke append ab | p1 invoke get | p1 ok get xabc", True, id="a rest that nobody appended"
    ),
]


@pytest.mark.parametrize(("model", "text", "expected"), LOG)
def test_by_hand(model: Model, text: str, expected: bool | None) -> None:
    history = entries(h(text))
    assert is_refuted(history, model) is expected
    if expected is not None:
        assert (brute.linearization(history, model) is None) is expected
