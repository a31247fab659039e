"""Workloads that look for one anomaly each: a sound machine is valid, a careless one is not, and Jepsen's files are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from checkers import Validity
from harness.cli import run_command
from harness.generators.simulate import Ending
from harness.tests.test_workloads import Replica, history_of, invoked, judge
from histories.op import Op

ON_KV = ("long-fork", "write-skew", "causal-reverse", "dirty-reads", "monotonic")
BANK = """
{:process 0 :type :invoke :f :read :value nil}
{:process 0 :type :ok :f :read :value {0 10, 1 20}}
{:process 1 :type :invoke :f :transfer :value {:from 0, :to 1, :amount 3}}
{:process 1 :type :ok :f :transfer :value {:from 0, :to 1, :amount 3}}
{:process 2 :type :invoke :f :read :value nil}
{:process 2 :type :ok :f :read :value {0 7, 1 20}}
"""


class Splitting(Replica):
    """Takes the amount of each so-many-th transfer and never brings it."""

    def __init__(self, lost_every: int) -> None:
        super().__init__("bank")
        self.split_every, self.transfers = lost_every, 0

    def __call__(self, op: Op) -> Ending:
        ended = super().__call__(op)
        self.transfers += op.f == "transfer" and ended.type == "ok"
        if op.f == "transfer" and ended.type == "ok" and self.transfers % self.split_every == 0:
            held = dict(self.machine.snapshot())
            held[str(op.value["to"])] -= op.value["amount"]
            self.machine.restore([list(item) for item in held.items()])
        return ended


class TwoViews(Replica):
    """Two copies of the store. A transaction takes effect in one of them at once, in the other a few operations later; whom it
    concerns alternates."""

    def __init__(self, lag: int) -> None:
        super().__init__("kv")
        self.views = (self, Replica("kv"))
        self.lag = lag
        self.waiting: list[tuple[int, Replica, Op]] = []
        self.turn = 0

    def __call__(self, op: Op) -> Ending:
        self.turn += 1
        while self.waiting and self.waiting[0][0] <= self.turn:
            _, view, late = self.waiting.pop(0)
            Replica.__call__(view, late)
        here, there = self.views if self.turn // 2 % 2 else self.views[::-1]
        if any(f != "r" for f, _, _ in op.value):
            self.waiting.append((self.turn + self.lag, there, op))
        return Replica.__call__(here, op)


class HalfRefusing(Replica):
    """What a transaction wrote before it was refused stays."""

    def __call__(self, op: Op) -> Ending:
        ended = super().__call__(op)
        if ended.type == "fail":
            kept = [step for step in op.value if step[0] == "w"]
            super().__call__(Op(op.index, op.time, op.type, op.process, op.f, None, kept))
        return ended


@pytest.mark.parametrize("doubted_every", [0, 15])
@pytest.mark.parametrize("name", ON_KV)
def test_a_sound_store_shows_none_of_the_anomalies(name: str, doubted_every: int) -> None:
    verdict = judge(name, history_of(name, Replica("kv", doubted_every=doubted_every), 400))
    assert verdict.validity is Validity.VALID, verdict.reason


@pytest.mark.parametrize("name", ON_KV)
def test_a_careless_store_shows_the_anomaly(name: str) -> None:
    store = HalfRefusing("kv") if name == "dirty-reads" else TwoViews(12)
    verdict = judge(name, history_of(name, store, 400))
    assert verdict.validity is Validity.INVALID, verdict.stats
    words = {
        "long-fork": "long fork",
        "causal-reverse": "causal reverse",
        "dirty-reads": "dirty read",
        "monotonic": "cycle",
    }
    assert words.get(name, "write skew") in verdict.reason


@pytest.mark.parametrize("name", ON_KV)
def test_raft_shows_none_of_the_anomalies(name: str, tmp_path: Path) -> None:
    run = ["test", "--env", "sim", "--workload", name, "--time-limit", "6", "--seed", "2", "--store", str(tmp_path)]
    assert run_command([*run, "--nemesis", "partition,kill,pause"]) == 0


@pytest.mark.parametrize("doubted_every", [0, 15])
def test_a_sound_bank_is_valid(doubted_every: int) -> None:
    history = history_of("bank", Replica("bank", doubted_every=doubted_every))
    verdict = judge("bank", history)
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.stats["total"] == 80
    assert {op.f for op in history if op.type == "ok"} == {"open", "transfer", "read"}
    assert any(op.type == "fail" for op in history), "transfers are refused for want of funds"
    assert Counter(op.f for op in invoked(history)[-6:]) == {"read": 6}, "every client reads in the end"


def test_a_transfer_that_was_done_in_half_is_named() -> None:
    history = history_of("bank", Splitting(5))
    verdict = judge("bank", history)
    assert verdict.validity is Validity.INVALID
    assert "only half is there of the transfer of" in verdict.reason
    assert "it was taken, and did not arrive" in verdict.reason


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 1, "wrong-total: op 5 read balances that add up to 27, not 30 (most reads): only half is there"),
        (("--total-amount", "27"), 1, "add up to 30, not 27 (the option)"),
        (("--consistency-models", "serializable,si"), 1, "wrong-total"),
        (("--consistency-models", "read-committed"), 254, "bank shows nothing about read-committed"),
        (("--consistency-models", "seralizable"), 254, "seralizable"),
        (("--anomalies", "G0"), 254, "list-append"),
        (("--wfr-keys",), 254, "list-append"),
    ],
)
def test_a_bank_of_another_database(
    options: tuple[str, ...], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bank.edn"
    file.write_text(BANK.lstrip())
    assert run_command(["check", str(file), "--workload", "bank", *options]) == code
    said = capsys.readouterr()
    assert told in said.out + said.err


def test_what_is_no_bank_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bank.edn"
    file.write_text(BANK.lstrip().replace("{0 7, 1 20}", "[7 20]"))
    assert run_command(["check", str(file), "--workload", "bank"]) == 254
    assert "line 6: read: [7, 20] is no map" in capsys.readouterr().err
    assert run_command(["check", str(file), "--workload", "rw-register", "--total-amount", "3"]) == 254
    assert "--workload bank" in capsys.readouterr().err


def test_a_bank_is_checked_as_what_it_can_rule_out(tmp_path: Path) -> None:
    for target in ("raft", "paxos"):
        run = ["test", "--env", "sim", "--target", target, "--workload", "bank", "--time-limit", "5", "--seed", "3"]
        assert (
            run_command(
                [*run, "--nemesis", "partition,kill", "--consistency", "serializable", "--store", str(tmp_path)]
            )
            == 0
        )
