"""`themis compare`: the table says what theory says."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from checkers.verdict import Validity, Verdict
from harness.campaign import comparison, comparison_picture
from harness.campaign.comparison import Compared, Share, Subject
from harness.cli import run_command
from harness.errors import HARNESS, INVALID, UNKNOWN, Interrupted, UsageError
from harness.run import execute as execute_module
from harness.run.plan import Plan, prepare
from harness.run.sinks import MemorySink
from harness.store.runs import HarnessFailure, Result, RunDirectory, Store
from targets.gossip.options import GossipOptions
from targets.gossip.target import TARGET as GOSSIP
from targets.raft.options import RaftOptions

SHORT = ("--runs", "1", "--time-limit", "5")


def test_what_each_side_serves_and_how_consistent_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "raft:reads=log", "gossip:mode=eventual", *SHORT, "--json"]) == 0
    raft, gossip = json.loads(capsys.readouterr().out)["subjects"]
    assert raft["ok_share_by_side"]["minority"] == 0.0
    assert raft["ok_share_by_side"]["majority"] > 0.9
    assert raft["strongest_model"] == "linearizable"
    assert raft["refuted"]["model"] == ""
    assert min(gossip["ok_share_by_side"].values()) > 0.9
    assert gossip["models"]["linearizable"] == "invalid"
    assert gossip["strongest_model"] != "linearizable"
    assert gossip["refuted"]["command"].startswith("themis test --env sim --target gossip")
    assert raft["latency_ns"]["p99"] >= raft["latency_ns"]["p50"] > gossip["latency_ns"]["p50"] > 0


def test_recovery_is_told_for_each_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "gossip:mode=causal", *SHORT, "--nemesis", "partition,kill", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["subjects"]
    assert row["recovery_ns_mean_by_fault"].keys() == {"partition", "kill"}
    assert min(row["recovery_ns_mean_by_fault"].values()) > 0


def test_messages_are_counted_and_drawn_with_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cap.svg"
    arguments = ("gossip:mode=eventual", "gossip:mode=quorum,quorums=sloppy", *SHORT, "--picture", str(file), "--json")
    assert run_command(["compare", *arguments]) == 0
    eventual, sloppy = json.loads(capsys.readouterr().out)["subjects"]
    assert eventual["messages_per_op"] > 1
    assert sloppy["messages_per_op"] > 1
    root = ElementTree.parse(file).getroot()
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"gossip mode=eventual", "gossip mode=quorum,quorums=sloppy", *eventual["kept"]} <= set(words)
    assert (
        run_command(["compare", "gossip:mode=eventual", *SHORT, "--picture", str(tmp_path / "no" / "cap.svg")]) == 254
    )


BROKEN, FAILED = Verdict.invalid("a write was lost", "register"), (HarnessFailure("tear down", "no luck"),)


def ended(verdict: Verdict, harness: tuple[HarnessFailure, ...] = (), signal_name: str = "") -> Result:
    return Result(verdict, harness=harness, interrupted=bool(signal_name), signal=signal_name)


@pytest.mark.parametrize(
    ("second", "expected", "shown"),
    [
        (ended(Verdict.valid()), INVALID, "breaks its claim"),
        (ended(Verdict.valid(), FAILED), INVALID, "the harness failed"),
        (Interrupted(signal.SIGTERM), INVALID, "interrupted by SIGTERM"),
        (RecursionError("too deep"), INVALID, "unexpected RecursionError"),
        (UsageError("the store is full"), INVALID, "the store is full"),
    ],
)
def test_a_broken_claim_dominates_what_comes_after_it(
    second: Result | BaseException,
    expected: int,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = iter([ended(BROKEN), second])

    def execute(prepared: Plan, sink: MemorySink) -> Result:
        result = next(results)
        if isinstance(result, BaseException):
            raise result
        execute_module.execute(prepared, sink)
        return result

    monkeypatch.setattr("harness.cli.compare.execute", execute)
    code = run_command(["compare", "raft:reads=log", "--runs", "2", "--time-limit", "0.5"])
    printed = capsys.readouterr()
    assert code == expected, printed
    assert shown in printed.out + printed.err
    assert isinstance(second, UsageError) or "breaks its claim" in printed.out


@pytest.mark.parametrize(
    ("harness", "expected", "shown"),
    [
        ((), UNKNOWN, "may break its claim, linearizable: seed 1 is undecided"),
        (FAILED, HARNESS, "the harness failed: seed 1: no luck"),
    ],
)
def test_a_run_that_was_not_decided_is_no_run_that_kept_its_claim(
    harness: tuple[HarnessFailure, ...],
    expected: int,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undecided = ended(Verdict.unknown("no operation ended ok"), harness)

    def execute(prepared: Plan, sink: MemorySink) -> Result:
        execute_module.execute(prepared, sink)
        return undecided

    monkeypatch.setattr("harness.cli.compare.execute", execute)
    words = ["compare", "raft:reads=log", "--runs", "1", "--time-limit", "0.5"]
    assert run_command(words) == expected
    told = capsys.readouterr().out
    assert shown in told
    assert "no operation ended ok" in told
    assert run_command([*words, "--json"]) == expected
    (row,) = json.loads(capsys.readouterr().out)["subjects"]
    assert row["undecided"] == {"1": "no operation ended ok"}
    assert row["claims_broken"] == {}


@pytest.mark.parametrize(("verdict", "expected"), [(Verdict.unknown("cut off"), 130), (BROKEN, INVALID)])
def test_a_signal_ends_the_comparison_and_not_one_run_of_it(
    verdict: Verdict, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = iter([ended(verdict, signal_name="SIGINT")])

    def run_into(store: Store, prepared: Plan) -> tuple[RunDirectory, Result]:
        result = next(results)
        spec = msgspec.structs.replace(prepared.spec, env="sim", env_options={})
        return execute_module.run_into(store, prepare(spec), is_watched=False)[0], result

    monkeypatch.setattr("harness.cli.compare.run_into", run_into)
    words = ("--env", "local", "--runs", "2", "--time-limit", "0.5", "--store", str(tmp_path))
    assert run_command(["compare", "raft:reads=log", "gossip:mode=causal", *words]) == expected
    assert "interrupted by SIGINT" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.real
def test_messages_of_nodes_that_are_processes_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--env", "local", "--runs", "1", "--time-limit", "3", "--nodes", "3", "--store", str(tmp_path), "--json")
    assert run_command(["compare", "raft:reads=log", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["subjects"]
    # A write goes to two followers and comes back; heartbeats and elections add to that.
    assert 2 < row["messages_per_op"] < 100


def test_the_table_names_the_run_that_refutes_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "gossip:mode=eventual", *SHORT]) == 0
    printed = capsys.readouterr().out
    assert "minority side" in printed
    assert re.search(r"gossip mode=eventual (is not|does not keep) ", printed)
    assert "  themis test --env sim --target gossip" in printed


@pytest.mark.parametrize(
    ("valid", "strongest", "refuted", "kept"),
    [
        (comparison.LADDER, "linearizable", "", ("linearizable",)),
        (comparison.LADDER[2:], "causal", "sequential", ("causal",)),
        (comparison.LADDER[3:], "session guarantees", "causal", ("session guarantees",)),
        (("monotonic-writes", "convergent"), "convergent", "read-your-writes", ("convergent", "monotonic-writes")),
        (("convergent",), "convergent", "read-your-writes", ("convergent",)),
        (("monotonic-reads",), "none", "convergent", ("monotonic-reads",)),
        ((), "none", "convergent", ("none",)),
    ],
)
def test_below_the_session_guarantees_each_of_them_counts(
    valid: tuple[str, ...], strongest: str, refuted: str, kept: tuple[str, ...]
) -> None:
    row = Compared(Subject("gossip", "gossip", {}), "eventual")
    for model in comparison.LADDER:
        verdict = Verdict(Validity.VALID) if model in valid else Verdict(Validity.INVALID, reason=f"no {model}")
        row.verdicts[model] = {1: Verdict(Validity.VALID), 2: verdict}
    rung, model, seed, why = row.strongest()
    assert (rung, model, seed, why) == (strongest, refuted, 2 if refuted else None, f"no {refuted}" if refuted else "")
    assert row.kept() == kept


def test_a_short_bar_has_its_share_beside_it() -> None:
    row = Compared(
        Subject("raft", "raft", {}), "linearizable", sides={"majority": Share(1, 1), "minority": Share(1, 25)}
    )
    row.verdicts = {model: {1: Verdict(Validity.VALID)} for model in comparison.LADDER}
    root = ElementTree.fromstring(comparison_picture.picture([row], "partition", "sim"))
    shares = {each.text: each for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert shares["100.0%"].get("fill") == "white"
    assert shares["4.0%"].get("fill") == "black"
    assert int(shares["4.0%"].get("x") or 0) > comparison_picture.LEFT + comparison_picture.WIDTH * 4 // 100


def test_a_target_is_compared_in_all_of_its_modes() -> None:
    assert [subject.name for subject in comparison.subjects("gossip", GossipOptions, GOSSIP.modes)] == [
        "gossip mode=eventual",
        "gossip mode=session",
        "gossip mode=causal",
        "gossip mode=quorum",
        "gossip mode=quorum quorums=sloppy",
    ]
    assert {"reads": "local"} in [subject.options for subject in comparison.subjects("raft", RaftOptions)]
    (one,) = comparison.subjects("gossip:mode=causal,gossip_ms=10", GossipOptions)
    assert one.options == {"mode": "causal", "gossip_ms": "10"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gosip",), "did you mean 'gossip'"),
        (("gossip:mod=causal",), "mod"),
        (("gossip:mode=",), "mode"),
        (("gossip", "--workload", "shared-sets"), "it is not about registers"),
        (("gossip", "--workload", "queue"), "no interface 'queue'"),
        (("gossip", "--workload", "shared-register"), "did you mean 'shared-registers'"),
        (("gossip:mode=causal,mode=session",), "mode is given twice"),
        (("gossip", "--nemesis", "partitoin"), "partition"),
        (("gossip", "--time-limit", "0.02"), "--time-limit: 0.02 is not between 0.1 and"),
        (("gossip", "--seed", str(2**63 - 2)), f"--seed: {2**63} is not between 0 and"),
        ((), "TARGET"),
    ],
)
def test_bad_input_is_one_message(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *arguments]) == 254
    assert words in capsys.readouterr().err
