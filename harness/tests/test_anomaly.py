"""Classes of anomalies: a failed operation saw an old state of the object, which may be the initial one, or none of its states."""

from __future__ import annotations

import pytest

from checkers.linearizability import linearizable
from checkers.models.registry import BUILT_IN, find
from checkers.verdict import Validity, merge
from harness.report.anomaly import anomaly_classes
from harness.store.runs import Result
from histories.builder import h

SEES_INITIAL = [
    ("register", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read nil"),
    ("register(initial=0)", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 0"),
    ("register-unknown-initial", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 7"),
    ("cas-register", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read nil"),
    ("cas-register(initial=0)", "p0 invoke cas [0,1] | p0 ok cas [0,1] | p1 invoke cas [0,2] | p1 ok cas [0,2]"),
    ("kv", "p0 invoke put 1 | p0 ok put 1 | p1 invoke get | p1 ok get nil"),
    ("kv-map", 'p0 invoke put ["a",1] | p0 ok put ["a",1] | p1 invoke get "a" | p1 ok get nil'),
    ("multi-register", 'p0 invoke write {"a":1} | p0 ok write {"a":1} | p1 invoke read | p1 ok read {"a":null}'),
    ("consensus", "p0 invoke propose 1 | p0 ok propose 1 | p1 invoke learn | p1 ok learn nil"),
    ("counter", "p0 invoke add 3 | p0 ok add 3 | p1 invoke read | p1 ok read 0"),
    ("counter-returning", "p0 invoke add 3 | p0 ok add 3 | p1 invoke read | p1 ok read 0"),
    ("set", "p0 invoke add 1 | p0 ok add 1 | p1 invoke read | p1 ok read []"),
    ("set", "p0 invoke add 1 | p0 ok add 1 | p1 invoke contains 1 | p1 ok contains false"),
    ("fifo-queue", "p0 invoke enqueue 1 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue nil"),
    (
        "lossy-queue",
        "p0 invoke enqueue 1 | p0 ok enqueue | p0 invoke peek | p0 ok peek 1 | p1 invoke peek | p1 ok peek nil",
    ),
    ("lifo-stack", "p0 invoke push 1 | p0 ok push | p1 invoke pop | p1 ok pop nil"),
    ("priority-queue", "p0 invoke enqueue 1 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue nil"),
    ("list-append", "p0 invoke append 1 | p0 ok append 1 | p1 invoke read | p1 ok read []"),
    ("mutex", "p0 invoke acquire a | p0 ok acquire | p1 invoke acquire b | p1 ok acquire"),
    ("reentrant-mutex", "p0 invoke acquire a | p0 ok acquire | p1 invoke acquire b | p1 ok acquire"),
    ("semaphore", "p0 invoke acquire a | p0 ok acquire | p1 invoke acquire b | p1 ok acquire"),
    ("fenced-lock", "p0 invoke acquire a | p0 ok acquire 5 | p1 invoke acquire b | p1 ok acquire 3"),
]


def class_of(name: str, text: str) -> str:
    verdict = linearizable(h(text), find(name))
    assert verdict.validity is Validity.INVALID
    (class_,) = anomaly_classes(Result(merge({"linearizable": verdict})))
    return class_


def test_every_model_has_its_row() -> None:
    assert {name.partition("(")[0] for name, _ in SEES_INITIAL} == set(BUILT_IN)


@pytest.mark.parametrize(("name", "text"), SEES_INITIAL)
def test_what_would_have_fitted_in_the_initial_state_saw_an_old_state(name: str, text: str) -> None:
    assert class_of(name, text) == f"linearizable/{find(name).name}/old state"


@pytest.mark.parametrize(
    ("name", "text", "class_"),
    [
        ("register", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 8", "no such state"),
        (
            "register",
            "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 2 | p0 ok write 2 | p1 invoke read | p1 ok read 1",
            "old state",
        ),
        ("counter", "p0 invoke add 3 | p0 ok add 3 | p1 invoke read | p1 ok read 2", "no such state"),
        ("set", "p0 invoke add 1 | p0 ok add 1 | p1 invoke read | p1 ok read [1,2]", "no such state"),
        ("fifo-queue", "p0 invoke enqueue 1 | p0 ok enqueue | p1 invoke dequeue | p1 ok dequeue 2", "no such state"),
        ("register", "p1 invoke read | p1 ok read 8", "no such state"),
    ],
)
def test_a_state_that_was_is_told_from_one_that_never_was(name: str, text: str, class_: str) -> None:
    assert class_of(name, text) == f"linearizable/{name}/{class_}"
