"""What signals do to a run: the first asks it to end, the second ends it at once, and neither cuts a heal or a tear-down short."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from harness.errors import Interrupted
from harness.run.interruption import SIGNALS, Interruption


@pytest.fixture(autouse=True)
def _as_from_a_terminal() -> Iterator[None]:
    """Also under `nohup`, which ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    interruption, stops = Interruption(), []
    interruption.on_ask(lambda: stops.append(1))
    with interruption.handled():
        assert (interruption.is_asked, stops) == (False, [])
        send(number)
        assert (interruption.is_asked, interruption.is_aborted, stops) == (True, False, [1])
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert interruption.is_aborted
    assert stops == [1], "it was asked once"


def test_who_is_told_late_is_told_at_once() -> None:
    interruption, stops = Interruption(), []
    with interruption.handled():
        send(signal.SIGTERM)
    interruption.on_ask(lambda: stops.append(1))
    assert stops == [1]


def test_a_shield_holds_to_its_end_and_the_signal_takes_effect_then() -> None:
    interruption, done = Interruption(), []

    def tear_down() -> None:
        with interruption.shielded():
            for _ in range(3):
                send(signal.SIGINT)
            done.append("torn down")

    with interruption.handled(), pytest.raises(KeyboardInterrupt):
        tear_down()
    assert done == ["torn down"]
    assert interruption.is_aborted


def test_a_shield_of_a_run_that_was_ended_before_raises_nothing_of_its_own() -> None:
    interruption = Interruption()
    with interruption.handled():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        with interruption.shielded():
            send(signal.SIGINT)


def test_a_signal_before_the_shield_is_no_reason_to_leave_it() -> None:
    interruption = Interruption()
    with interruption.handled():
        send(signal.SIGINT)
        with interruption.shielded():
            pass
    assert not interruption.is_aborted


def test_a_signal_before_anything_has_begun_ends_it_at_once() -> None:
    interruption = Interruption()
    with interruption.handled(), interruption.preparing(), pytest.raises(Interrupted) as raised:
        send(signal.SIGTERM)
    assert raised.value.number == signal.SIGTERM
    assert not interruption.is_asked


def test_within_a_shield_a_signal_takes_effect_where_it_is_open() -> None:
    interruption, done = Interruption(), []

    def run() -> None:
        with interruption.shielded():
            try:
                with interruption.unshielded():
                    for _ in range(2):
                        send(signal.SIGINT)
                    done.append("went on")
            finally:
                send(signal.SIGINT)
                done.append("torn down")

    with interruption.handled(), pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["torn down"]


def test_where_a_shield_is_open_nothing_begins_after_a_second_signal() -> None:
    interruption, done = Interruption(), []

    def run() -> None:
        with interruption.shielded():
            for _ in range(2):
                send(signal.SIGINT)
            with interruption.unshielded():
                done.append("begun")

    with interruption.handled(), pytest.raises(KeyboardInterrupt):
        run()
    assert done == []
