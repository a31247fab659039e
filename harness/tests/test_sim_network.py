"""The simulated network: delays, loss, order, cuts, and what a probe says of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import pytest

from harness.environments.sim.delays import QUANTILES, DelayShape, quantiles_ns
from harness.environments.sim.network import HELD_MAX
from harness.errors import HarnessError, UsageError
from harness.tests.simulated import Scripted, Word, run_for, world_of
from nemesis.capabilities import FaultError
from targets.core import Effect, Event, Received, Send, SetTimer, Started, TimerFired

MS = 1_000_000


@pytest.mark.parametrize("shape", ["constant", "uniform", "exponential", "lognormal"])
def test_a_delay_table_has_the_least_and_the_mean_that_were_asked_for(shape: DelayShape) -> None:
    table = quantiles_ns(shape, 300_000, 1_000_000)
    assert len(table) == QUANTILES
    assert list(table) == sorted(table)
    assert table[0] >= 300_000
    assert statistics.fmean(table) == pytest.approx(1_000_000, rel=0.01)


def counting(core: Scripted, event: Event) -> Sequence[Effect]:
    """n1 numbers a message to n2 every ms, from 1 on; n2 answers nothing."""
    match event:
        case Started() if core.node == "n1":
            return [SetTimer("next", 10 * MS)]
        case TimerFired():
            return [Send("n2", Word(str(len(core.seen) - 1))), SetTimer("next", MS)]
    return ()


def received(core: Scripted) -> list[int]:
    return [int(event.message.text) for _, event in core.seen if isinstance(event, Received)]  # type: ignore[attr-defined]


LINK = [("n1", "n2")]


def test_loss_takes_its_share_and_only_on_its_link() -> None:
    environment, target = world_of(counting)
    packets = environment.cluster.packets
    packets.disturb("loss", LINK, {"probability": 0.3})
    assert packets.measure()["in_force"] == {"loss": [["n1", "n2"]]}
    run_for(environment, 5)
    assert 0.65 < len(received(target.cores["n2"][0])) / 5000 < 0.75
    packets.heal()
    assert packets.measure()["in_force"] == {}
    before = len(received(target.cores["n2"][0]))
    run_for(environment, 1)
    assert len(received(target.cores["n2"][0])) - before >= 990


def test_corruption_is_caught_by_the_checksum_and_counted() -> None:
    environment, target = world_of(counting)
    environment.cluster.packets.disturb("corrupt", LINK, {"probability": 0.5})
    run_for(environment, 2)
    counts = environment.cluster.packets.measure()["counts"]
    lost = counts["checksum does not match"]  # type: ignore[index]
    assert 800 < lost < 1200
    assert 2000 - lost - 10 <= len(received(target.cores["n2"][0])) <= 2010 - lost


def test_duplicates_and_reordering() -> None:
    environment, target = world_of(counting, delay="constant")
    environment.cluster.packets.disturb("duplicate", LINK, {"probability": 0.5})
    environment.cluster.packets.disturb("reorder", LINK, {"probability": 0.2})
    run_for(environment, 2)
    numbers = received(target.cores["n2"][0])
    assert len(numbers) > 2700
    assert len(set(numbers)) >= 1950
    assert numbers != sorted(numbers)


@pytest.mark.parametrize("transport", ["datagram", "stream"])
def test_a_late_packet_is_half_a_second_to_five_seconds_late(transport: str) -> None:
    environment, target = world_of(counting, delay="constant", transport=transport)
    environment.cluster.packets.disturb("late", LINK, {"probability": 0.2})
    run_for(environment, 0.45)
    numbers = received(target.cores["n2"][0])
    late = environment.cluster.packets.measure()["counts"]["late"]  # type: ignore[index]
    assert 50 < late < 130
    if transport == "stream":
        assert len(numbers) < 50, "those behind the first late one wait for it"
    else:
        assert len(numbers) == pytest.approx(450 - late, abs=15)
    environment.cluster.packets.heal()
    run_for(environment, 6)
    numbers = received(target.cores["n2"][0])
    assert len(set(numbers)) >= 6400, "none is lost"
    assert (numbers == sorted(numbers)) == (transport == "stream")


def test_slow_and_rate_delay() -> None:
    environment, target = world_of(counting, delay="constant")
    environment.cluster.packets.disturb("slow", LINK, {"delay_ms": 200, "jitter_ms": 50})
    run_for(environment, 1)
    assert 700 < len(received(target.cores["n2"][0])) < 850
    environment.cluster.packets.heal()
    size = len(b'{"type":"Word","text":"1000"}')
    environment.cluster.packets.disturb("rate", LINK, {"bytes_per_s": size * 100})
    run_for(environment, 1)
    before = len(received(target.cores["n2"][0]))
    run_for(environment, 1)
    assert 95 <= len(received(target.cores["n2"][0])) - before <= 105


@pytest.mark.parametrize("transport", ["datagram", "stream"])
@pytest.mark.parametrize(
    ("bytes_per_s", "why", "dropped_min"),
    [(3_000, "queue is full", 10_000), (2, "takes too long on the link", 10)],
    ids=["finite-queue", "too-large-message"],
)
def test_what_a_slow_link_cannot_carry_is_given_up_so_that_it_serves_soon_after_the_heal(
    bytes_per_s: int, why: str, dropped_min: int, transport: str
) -> None:
    """Its queue is finite, and a message that alone would take it too long does not hold up what follows."""
    environment, target = world_of(counting, transport=transport)
    environment.cluster.packets.disturb("rate", LINK, {"bytes_per_s": bytes_per_s})
    run_for(environment, 30)
    environment.cluster.packets.heal()
    run_for(environment, 3)
    assert received(target.cores["n2"][0])[-1] > 32_500, "of 33,000 sent"
    assert environment.network.counts[f"dropped: {why}"] > dropped_min


def test_disturbances_of_two_kinds_add_up_and_of_one_kind_replace_each_other() -> None:
    environment, _ = world_of(counting)
    packets = environment.cluster.packets
    packets.disturb("loss", LINK, {"probability": 0.3})
    packets.disturb("slow", [("n2", "n1")], {"delay_ms": 3})
    packets.disturb("loss", [("n3", "n1")], {"probability": 0.1})
    assert packets.measure()["in_force"] == {"slow": [["n2", "n1"]], "loss": [["n3", "n1"]]}


def test_a_cut_is_one_way_and_the_probe_agrees() -> None:
    environment, target = world_of(counting)
    links = environment.cluster.links
    run_for(environment, 0.5)
    links.drop({"n2": frozenset({"n1"})})
    assert links.probe() == {
        "n1": {"n2": "answers", "n3": "answers"},
        "n2": {"n1": "cut", "n3": "answers"},
        "n3": {"n1": "answers", "n2": "answers"},
    }
    before = len(received(target.cores["n2"][0]))
    run_for(environment, 1)
    assert len(received(target.cores["n2"][0])) == before
    environment.cluster.processes.kill(["n2"])
    assert links.probe()["n2"] == {"n1": "down", "n3": "down"}
    environment.cluster.processes.start(["n2"])
    links.heal()
    run_for(environment, 0.1)
    assert received(target.cores["n2"][1])


def test_an_unknown_node_is_refused_and_nothing_is_cut() -> None:
    environment, _ = world_of()
    with pytest.raises(FaultError, match="n9"):
        environment.cluster.links.drop({"n1": frozenset({"n9", "n2"})})
    assert "cut" not in environment.cluster.links.probe()["n1"].values()
    with pytest.raises(FaultError, match="n9"):
        environment.cluster.processes.kill(["n9"])
    with pytest.raises(FaultError, match="probability"):
        environment.cluster.packets.disturb("loss", LINK, {"delay_ms": 1})


def test_a_stream_keeps_the_order_and_loses_nothing_under_loss() -> None:
    environment, target = world_of(counting, transport="stream")
    environment.cluster.packets.disturb("loss", LINK, {"probability": 0.05})
    run_for(environment, 3)
    environment.cluster.packets.heal()
    run_for(environment, 3)
    numbers = received(target.cores["n2"][0])
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 5000


def test_a_stream_that_reorders_holds_back_what_is_behind_and_none_has_duplicates() -> None:
    environment, target = world_of(counting, transport="stream", delay="constant")
    packets = environment.cluster.packets
    assert "duplicate" not in packets.kinds
    assert "duplicate" in world_of(counting)[0].cluster.packets.kinds
    packets.disturb("reorder", LINK, {"probability": 0.2})
    run_for(environment, 2)
    numbers = received(target.cores["n2"][0])
    assert numbers == list(range(1, len(numbers) + 1)), "in order"
    assert environment.network.counts["reordered"] > 300


def test_a_stream_that_was_bad_lets_go_soon_after_the_heal() -> None:
    """A packet that was lost again and again came half a minute late, and held up all behind it: a follower stayed behind."""
    environment, target = world_of(counting, transport="stream")
    environment.cluster.packets.disturb("loss", LINK, {"probability": 0.7})
    run_for(environment, 3)
    environment.cluster.packets.heal()
    run_for(environment, 4)
    numbers = received(target.cores["n2"][0])
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 4500


def test_what_a_stream_held_during_a_cut_is_delivered_in_order_or_reset() -> None:
    ends = set()
    for seed in range(20):
        environment, target = world_of(counting, transport="stream", seed=seed)
        run_for(environment, 0.1)
        environment.cluster.links.drop({"n2": frozenset({"n1"})})
        run_for(environment, 0.5)
        environment.cluster.links.heal()
        run_for(environment, 0.5)
        numbers = received(target.cores["n2"][0])
        assert numbers == sorted(set(numbers))
        ends.add("delivered" if len(numbers) > 1000 else "reset")
    assert ends == {"delivered", "reset"}


def test_a_held_link_delivers_all_after_its_release() -> None:
    environment, target = world_of(counting)
    run_for(environment, 0.1)
    environment.network.hold(LINK)
    assert environment.cluster.links.probe()["n2"] == {"n1": "cut", "n3": "answers"}
    before = len(received(target.cores["n2"][0]))
    run_for(environment, 0.5)
    assert len(received(target.cores["n2"][0])) == before
    environment.network.release()
    run_for(environment, 0.1)
    assert len(received(target.cores["n2"][0])) >= 690
    environment.network.hold(LINK)
    run_for(environment, 3)
    assert len(environment.network.links["n1"]["n2"].held) == HELD_MAX


def test_a_link_may_have_a_delay_of_its_own() -> None:
    environment, target = world_of(counting, link_delay_ms={"n1>n2": 400}, delay="constant")
    run_for(environment, 1)
    assert 580 < len(received(target.cores["n2"][0])) < 610


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": 1.5}, "loss"),
        ({"delay": "sideways"}, "sideways"),
        ({"delay_ms_min": 5.0, "delay_ms_mean": 2.0}, "delay_ms_min"),
        ({"loos": 1}, "unknown env sim option 'loos'; did you mean 'loss'"),
        ({"messages": "7"}, "env sim options: messages is '7'; it must be true or false"),
        ({"link_delay_ms": {"n1>n9": 3}}, "n1>n9"),
        ({"slow_nodes_ms": {"n9": 3}}, "n9"),
        ({"fsync_ms_mean": -1}, "fsync_ms_mean"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        world_of(**options)  # type: ignore[arg-type]


def doubling(core: Scripted, event: Event) -> Sequence[Effect]:
    """n1 sends one message, and each that arrives is answered by two."""
    match event:
        case Started() if core.node == "n1":
            return [SetTimer("go", 10 * MS)]
        case TimerFired():
            return [Send("n2", Word("go"))]
        case Received(source=source):
            return [Send(source, Word("again"))] * 2
    return ()


def test_nodes_that_answer_one_message_by_two_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.environments.sim.network.FLOOD_MESSAGES", 1 << 12)
    environment, _ = world_of(doubling)
    with pytest.raises(HarnessError, match=r"the nodes flood the network: 4,096 messages in 0\.00. s of virtual time"):
        run_for(environment, 60)
    assert environment.world.failure is not None
    assert not environment.world.heap
