"""Workloads of transactions: a sound machine is valid, a careless one is not, and a planted bug of Raft is named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers import Validity
from harness.cli import run_command
from harness.errors import UsageError
from harness.generators.simulate import Ending
from harness.tests.test_workloads import Replica, history_of, invoked, judge
from harness.workloads import registry
from harness.workloads.claims import choose_checkers
from histories.op import Op

NAMES = ("txn-append", "txn-register")
every_workload = pytest.mark.parametrize("name", NAMES)


class Forgetful(Replica):
    """Each so-many-th transaction that writes is acknowledged, and the last of its writes is not kept."""

    def __init__(self, lost_every: int) -> None:
        super().__init__("kv")
        self.lost_every, self.writers = lost_every, 0

    def __call__(self, op: Op) -> Ending:
        writes = [step for step in op.value if step[0] != "r"]
        self.writers += bool(writes)
        if not writes or self.writers % self.lost_every:
            return super().__call__(op)
        self.writers += 1
        kept = [step for step in op.value if step is not writes[-1]]
        if not kept:
            return Ending(value=op.value)
        seen = iter(super().__call__(Op(op.index, op.time, op.type, op.process, op.f, None, kept)).value)
        return Ending(value=[step if step is writes[-1] else next(seen) for step in op.value])


@every_workload
@pytest.mark.parametrize("doubted_every", [0, 15])
def test_a_sound_machine_is_valid(name: str, doubted_every: int) -> None:
    history = history_of(name, Replica("kv", doubted_every=doubted_every))
    verdict = judge(name, history)
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.stats["models"] == ["strict-serializable"]
    write = "append" if name == "txn-append" else "w"
    assert {step[0] for op in history for step in op.value} == {"r", write}
    assert {len(op.value) for op in invoked(history)[:600]} == {1, 2, 3, 4}


@every_workload
def test_a_write_that_was_acknowledged_and_not_kept_is_found(name: str) -> None:
    assert judge(name, history_of(name, Forgetful(5), 400)).validity is Validity.INVALID


@every_workload
def test_a_key_that_was_written_often_gives_way_to_a_fresh_one(name: str) -> None:
    history = history_of(name, Replica("kv"), 400, writes_per_key=7, keys=3, final_keys=0)
    writes = Counter(step[1] for op in invoked(history) for step in op.value if step[0] != "r")
    assert max(writes.values()) == 7
    assert sum(count < 7 for count in writes.values()) <= 3
    elements = [step[2] for op in invoked(history) for step in op.value if step[0] != "r"]
    assert len(set(elements)) == len(elements)


@every_workload
def test_every_thread_reads_the_latest_keys_in_the_end(name: str) -> None:
    history = history_of(name, Replica("kv"), 120, keys=4, final_keys=3)
    begun = invoked(history)
    latest = max(step[1] for op in begun[:120] for step in op.value)
    assert Counter(op.process for op in begun[120:]) == dict.fromkeys(range(6), 1)
    assert all(
        [step[:2] for step in op.value] == [["r", latest - 2], ["r", latest - 1], ["r", latest]] for op in begun[120:]
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"read": 0}, "read is 0"),
        ({"steps_min": 5}, "more than steps_max"),
        ({"kays": 5}, "kays"),
        ({"keys": 0}, "keys"),
    ],
)
def test_options_that_are_misspelt_or_nonsense_are_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError), match=message):
        msgspec.convert(raw, registry.find("txn-append").option_type)


def test_every_model_of_transactions_is_a_claim() -> None:
    workload = registry.find("txn-append")
    for claim in ("linearizable", "strict-serializable", "serializable", "snapshot-isolation", "read-committed"):
        (row,) = choose_checkers(claim, workload, claimed_by="it claims")
        assert row.name == "list-append"
    with pytest.raises(UsageError, match="strict-serializable"):
        choose_checkers("causal", workload, claimed_by="it claims")


@every_workload
@pytest.mark.long
def test_raft_in_the_simulation_and_its_stale_reads(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim = ["test", "--env", "sim", "--workload", name, "--time-limit", "15", "--seed", "7", "--store", str(tmp_path)]
    assert run_command([*sim, "--nemesis", "partition,kill"]) == 0
    assert run_command([*sim, "--nemesis", "partition,pause", "--bug", "stale-read"]) == 1
    assert "\nG-single-item-realtime: 2 transactions" in capsys.readouterr().out
