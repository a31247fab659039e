"""Campaigns: what is found, what it is called, what is enough, and that an interruption changes nothing."""

from __future__ import annotations

import datetime
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner, Result

from checkers import Validity, Verdict
from harness.campaign import outcome as outcomes
from harness.campaign.campaign_file import Campaign, read_campaign
from harness.campaign.campaign_report import as_junit, as_markdown, as_text, report_of
from harness.campaign.case import Case
from harness.campaign.findings import KnownFinding, findings_of, read_known, with_known
from harness.campaign.outcome import Outcome
from harness.campaign.pages import CampaignPages
from harness.campaign.runner import CampaignRunner, Counts
from harness.campaign.state import CampaignFolder
from harness.campaign.sweep import AHEAD
from harness.cli import campaign as commands
from harness.cli import themis
from harness.errors import HARNESS, INVALID, UNKNOWN, VALID, UsageError
from harness.generators.script import Script, ScriptedOp
from harness.run import execute
from harness.run.plan import Plan, prepare
from harness.store.runs import Result as RunResult
from harness.store.runs import RunDirectory, Store
from harness.tests.command import assert_refused
from harness.tests.command import themis as themis_ended
from nemesis.schedule import Schedule

SMALL = """
name: small
seeds: 1..3
jobs: 1
run: {time-limit: 2, nodes: 3, nemesis: "partition,kill", nemesis-interval: 0.5}
matrix: {bug: [none, volatile-log]}
shrink: 20s
keep: 1
require: {unknown-share: 0.5}
"""
TODAY = datetime.date(2026, 1, 1)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return campaign_of(tmp_path, SMALL)


def campaign_of(tmp_path: Path, text: str) -> Campaign:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    return read_campaign(path)


def ended(cell: int, seed: int, validity: Validity, *classes: str, **more: Any) -> Outcome:
    usual: dict[str, Any] = {"ops": 10, "ok": 9, "words": "such words", "command": f"themis test --seed {seed}"}
    return Outcome(cell=cell, seed=seed, validity=validity, classes=classes, **(usual | more))


class AtOnce(Executor):
    """Runs each call when it is handed out; after `limit` calls Ctrl-C comes."""

    def __init__(self, limit: int = 10**9) -> None:
        self.left = limit

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


def told(outcome: Outcome, root: Path | None = None) -> Outcome:
    """The outcome without what depends on the machine. root: with paths below it told by the file's name only."""
    command = outcome.command if root is None else re.sub(rf"{root}\S*/", "", outcome.command)
    return msgspec.structs.replace(outcome, cpu_s=0.0, elapsed_s=0.0, run="", command=command)


@pytest.mark.parametrize("strategy", ["random", "coverage"])
@pytest.mark.long
@pytest.mark.real
def test_an_interrupted_campaign_comes_to_what_an_uninterrupted_one_does(tmp_path: Path, strategy: str) -> None:
    text = SMALL.replace("1..3", "1..9").replace("keep: 1", f"keep: 0\nenough: 3\nstrategy: {strategy}")
    campaign = campaign_of(tmp_path, text)
    whole = CampaignFolder.create(tmp_path / "a", campaign)
    CampaignRunner(Store(tmp_path / "a"), whole, campaign).run(AtOnce(), 1)
    parts = CampaignFolder.create(tmp_path / "b", campaign)
    for limit in (AHEAD + 1, AHEAD + 3, AHEAD + 2):
        with pytest.raises(KeyboardInterrupt):
            CampaignRunner(Store(tmp_path / "b"), parts, campaign).run(AtOnce(limit), 1)
    assert 0 < len(parts.outcomes()) < len(whole.outcomes())
    with parts.results.open("ab") as file:
        file.write(b'{"cell": 1, "se')  # As a kill leaves it.
    CampaignRunner(Store(tmp_path / "b"), parts, campaign).run(AtOnce(), 1)
    assert [told(one, tmp_path) for one in parts.outcomes()] == [told(one, tmp_path) for one in whole.outcomes()]
    assert any("--schedule" in one.command for one in whole.outcomes()) == (strategy == "coverage")


@pytest.mark.long
def test_a_combination_that_failed_enough_rests_and_is_told(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path, SMALL.replace("1..3", "1..9").replace("keep: 1", "keep: 1\nenough: 2"))
    folder = CampaignFolder.create(tmp_path / "a", campaign)
    CampaignRunner(Store(tmp_path / "a"), folder, campaign).run(AtOnce(), 1)
    counts = Counter(one.cell for one in folder.outcomes())
    failed = sum(one.validity is Validity.INVALID for one in folder.outcomes())
    assert counts[0] == 9
    assert 2 <= failed <= counts[1] <= 2 + AHEAD < 9  # What was handed out already is not taken back.
    assert "1 of 2 combinations failed 2 times" in as_text(report_of(campaign, folder.outcomes(), [], [], TODAY))


def test_a_campaign_ends_with_its_budget(tmp_path: Path, campaign: Campaign) -> None:
    short = msgspec.structs.replace(campaign, budget_s=0.0)
    folder = CampaignFolder.create(tmp_path, short)
    CampaignRunner(Store(tmp_path), folder, short).run(AtOnce(), 1)
    assert folder.outcomes() == []
    report = report_of(short, [], [], (), TODAY)
    assert report.shortcomings == ("nothing was run",)
    assert report.code == UNKNOWN


def test_a_run_that_raises_is_one_failure_of_the_harness(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(outcomes, "run_trial", broken)
    folder = CampaignFolder.create(tmp_path, campaign)
    CampaignRunner(Store(tmp_path), folder, campaign).run(AtOnce(), 1)
    report = report_of(campaign, folder.outcomes(), [], (), TODAY)
    assert report.code == HARNESS
    assert "6 runs; the first: run: RuntimeError: out of paper" in as_text(report)


def test_one_bug_is_one_finding(campaign: Campaign) -> None:
    ends = [
        ended(0, 1, Validity.VALID),
        ended(0, 2, Validity.INVALID, "linearizable/register/old state"),
        ended(0, 3, Validity.INVALID, "linearizable/queue/no such state"),
        ended(1, 1, Validity.INVALID, "invariants/log-matching"),
        ended(1, 2, Validity.INVALID, "invariants/leader-completeness", "invariants/log-matching"),
        ended(1, 3, Validity.INVALID, "invariants/leader-completeness"),
        ended(1, 4, Validity.INVALID, "liveness"),
    ]
    found = findings_of(campaign, ends)
    assert [(finding.target, finding.classes, [each.seed for each in finding.outcomes]) for finding in found] == [
        ("raft+volatile-log", ("invariants/leader-completeness", "invariants/log-matching"), [1, 2, 3]),
        ("raft", ("linearizable/queue/no such state", "linearizable/register/old state"), [2, 3]),
        ("raft+volatile-log", ("liveness",), [4]),
    ]


def known(anomaly: str, expires: datetime.date) -> KnownFinding:
    return KnownFinding(target="raft*", anomaly=anomaly, reason="bug 42", expires=expires)


def test_a_known_finding_is_let_pass_until_its_day_and_missed_when_it_is_gone(campaign: Campaign) -> None:
    ends = [ended(1, seed, Validity.INVALID, "liveness") for seed in (1, 2)]
    found = findings_of(campaign, ends)
    marked, remarks = with_known(found, [known("live*", TODAY)], TODAY)
    assert (marked[0].expected, remarks) == ("bug 42 (until 2026-01-01)", [])
    assert report_of(campaign, ends, [], [known("live*", TODAY)], TODAY).code != INVALID
    marked, remarks = with_known(found, [known("live*", TODAY - datetime.timedelta(1))], TODAY)
    assert marked[0].expected == ""
    assert "expired on 2025-12-31 and still occurs" in remarks[0]
    _, remarks = with_known(found, [known("linearizable/*", TODAY)], TODAY)
    assert "did not occur" in remarks[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "known:\n  - {target: raft, anomaly: x, reason: y}",
            "line 2, column 5: Object missing required field `expires`",
        ),
        ("known:\n  - {target: raft, anomaly: x, reason: ' ', expires: 2027-01-31}", "needs a reason"),
        ("known:\n  - {target: raft, anomaly: x, reason: y, expires: soon}", "line 2"),
        ("know: []", "did you mean 'known'?"),
    ],
)
def test_a_file_of_known_findings_is_checked(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_known(str(path))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ([(Validity.VALID, {})] * 4, VALID, ""),
        ([(Validity.UNKNOWN, {})] * 4, UNKNOWN, "every run is UNKNOWN"),
        ([(Validity.VALID, {})] + [(Validity.UNKNOWN, {})] * 3, UNKNOWN, "3 of 4 runs are UNKNOWN"),
        ([(Validity.VALID, {"ok": 1})] * 4, UNKNOWN, "10% of the client ops succeeded"),
        ([(Validity.VALID, {})] * 3 + [(Validity.UNKNOWN, {"harness": "up: no"})], HARNESS, ""),
        ([(Validity.INVALID, {})] + [(Validity.UNKNOWN, {"harness": "up: no"})] * 3, INVALID, ""),
    ],
)
def test_what_is_no_success_has_its_code_and_its_reason(
    campaign: Campaign, ends: list[tuple[Validity, dict[str, Any]]], code: int, said: str
) -> None:
    classes = {Validity.INVALID: ("liveness",)}
    done = [ended(n % 2, n, validity, *classes.get(validity, ()), **more) for n, (validity, more) in enumerate(ends)]
    report = report_of(campaign, done, [], (), TODAY)
    assert report.code == code
    assert said in " ".join(report.shortcomings)
    assert bool(report.shortcomings) == bool(said)


def test_a_combination_that_was_never_run_is_told(campaign: Campaign) -> None:
    report = report_of(campaign, [ended(0, 1, Validity.VALID)], [], (), TODAY)
    assert report.code == UNKNOWN
    assert "1 of 2 combinations were never run; the first: bug volatile-log" in report.shortcomings[0]


def test_reports_hold_no_markup_of_others(campaign: Campaign) -> None:
    words = "a | b\n<script>\x1b[31m & `x`"
    ends = [ended(0, 1, Validity.INVALID, "liveness", words=words), ended(1, 1, Validity.UNKNOWN, words=words)]
    report = report_of(campaign, ends, [], (), TODAY)
    markdown = as_markdown(report)
    assert "<script>" not in markdown.replace("\\<", "")
    assert "\x1b" not in markdown + as_text(report)
    suite = ElementTree.fromstring(as_junit(campaign, report))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "1", "1")
    assert "<script>" in (suite.findall("testcase/failure")[0].get("message") or "")


def command(*words: str) -> Result:
    return CliRunner().invoke(themis, ["campaign", *words])


@pytest.mark.real
@pytest.mark.long
def test_the_whole_way_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, resume with nothing left, report, bundle; one finding, kept, shrunk, with a test beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(SMALL)
    ran = command("run", "c.yaml")
    assert "raft+volatile-log: invariants/" in ran.output
    assert "6 of 6 runs (3 INVALID, " in ran.output
    folder = CampaignFolder.find(tmp_path / "store", "small")
    data = json.loads((folder.path / "report.json").read_text())
    assert (data["exit_code"], len(data["findings"])) == (1, 1)
    shrunk = Path(data["findings"][0]["shrunk"])
    assert (shrunk / "test_reproduction.py").is_file()
    assert len([each for each in folder.outcomes() if each.run]) == 1
    again = command("resume", "small", "--json")
    assert {**json.loads(again.stdout), "folder": ""} == {**data, "folder": ""}
    assert "FINDING" in command("report", "latest").output
    assert "packed: small.zip" in command("bundle").output
    with zipfile.ZipFile("small.zip") as archive:
        names = archive.namelist()
    assert {"small/report.md", "small/junit.xml", "small/results.jsonl"} <= set(names)
    assert any(name.endswith("test_reproduction.py") for name in names)


def test_bad_usage_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (("run", "none.yaml"), "none.yaml cannot be read: No such file"),
        (("resume", "none"), "no campaign 'none' in store/campaigns"),
        (("report", "x" * 5_000), "no campaign"),
    ):
        assert said in str(CliRunner().invoke(themis, ["campaign", *words], standalone_mode=False).exception)
    assert command("init").exit_code == 0
    refused = CliRunner().invoke(themis, ["campaign", "init"], standalone_mode=False)
    assert "campaign.yaml is there already" in str(refused.exception)


def with_a_finding(store: Path, campaign: Campaign, run: str = "", **more: Any) -> CampaignFolder:
    """A campaign of one cell's runs, of which one is INVALID."""
    folder = CampaignFolder.create(store, campaign)
    folder.add(ended(1, 1, Validity.INVALID, *more.pop("classes", ("lost",)), run=run, **more))
    for task in campaign.tasks():
        if task != (1, 1):
            folder.add(ended(*task, Validity.VALID))
    return folder


def test_a_path_that_is_no_campaign_is_refused_in_words(tmp_path: Path) -> None:
    for text in ("/no/such", str(tmp_path), "//x"):
        assert_refused(themis_ended("campaign", "report", text, "--store", tmp_path), "no campaign")


def test_a_campaign_that_was_given_a_path_for_a_name_writes_nothing_there(tmp_path: Path, campaign: Campaign) -> None:
    folder = with_a_finding(tmp_path / "store", campaign)
    text = folder.plan.read_text()
    folder.plan.write_text(text.replace('"name": "small"', f'"name": "{tmp_path}/elsewhere"', 1))
    for way in ("bundle", "report", "resume"):
        assert_refused(themis_ended("campaign", way, folder.path, cwd=tmp_path), "cannot be a folder name")
    assert [path.name for path in tmp_path.glob("elsewhere*")] == []


def test_a_campaign_whose_kept_runs_were_pruned_is_resumed_reported_and_bundled(
    tmp_path: Path, campaign: Campaign
) -> None:
    gone = tmp_path / "store" / "small" / "20260101T000000.000Z"
    with_a_finding(tmp_path / "store", campaign, str(gone))
    resumed = themis_ended("campaign", "resume", "--store", tmp_path / "store", "--jobs", "1")
    assert resumed.returncode == INVALID, resumed
    assert "FINDING  raft+volatile-log: lost" in resumed.stdout
    assert f"not shrunk: {gone}: no run is here" in resumed.stdout
    packed = themis_ended("campaign", "bundle", "--store", tmp_path / "store", "--output", tmp_path / "packed.zip")
    assert packed.returncode == VALID, packed
    assert f"left out: {gone}: this run was kept, and is not there any more" in packed.stderr


def test_the_runs_of_a_store_that_was_moved_are_found(tmp_path: Path, campaign: Campaign) -> None:
    run = Store(tmp_path / "a").create(campaign.cells[1].spec, "small")
    run.release()
    with_a_finding(tmp_path / "a", campaign, str(run.path))
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "link").symlink_to("b")
    packed = themis_ended("campaign", "bundle", "--store", tmp_path / "b", "--output", tmp_path / "packed.zip")
    assert packed.stderr == ""
    place = f"small/{run.path.name}"
    with zipfile.ZipFile(tmp_path / "packed.zip") as archive:
        assert f"small/runs/{place}/spec.json" in archive.namelist()
    for store in (tmp_path / "b", tmp_path / "link", tmp_path / "b" / ".." / "b"):
        pages = CampaignPages(store)
        [row] = pages.rows()
        details = pages.details(row.name, row.time)
        assert details is not None
        assert details["findings"][0]["runs"][0]["run"] == place


@pytest.mark.parametrize("way", ["report", "resume"])
def test_a_violation_dominates_a_report_that_cannot_be_written(
    way: str, tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with_a_finding(tmp_path, campaign)
    monkeypatch.setattr(commands, "write_json", full)
    told = themis_ended("campaign", way, "--store", tmp_path)
    assert told.returncode == INVALID, told
    assert "No space left" in told.stderr
    assert "FINDING  raft+volatile-log: lost" in told.stdout


def test_json_has_the_exit_code_of_the_command(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_early(*_: object) -> None:
        raise KeyboardInterrupt

    folder = CampaignFolder.create(tmp_path, campaign)
    for task in campaign.tasks():
        folder.add(ended(*task, Validity.VALID))
    monkeypatch.setattr(CampaignRunner, "run", ended_early)
    told = themis_ended("campaign", "resume", "--store", tmp_path, "--json")
    assert (told.returncode, json.loads(told.stdout)["exit_code"]) == (130, 130)


@pytest.mark.parametrize(
    ("verdict", "expected", "noted"),
    [(Verdict.invalid("a write was lost", "register"), INVALID, [Validity.INVALID]), (Verdict.unknown("cut"), 143, [])],
)
def test_a_violation_that_a_run_of_real_nodes_found_before_a_signal_ended_it_is_noted(
    verdict: Verdict, expected: int, noted: list[Validity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(
        "name: real\nseeds: 1..3\njobs: 1\nrun: {env: local, time-limit: 1, nodes: 3}\nshrink: 0s\n"
    )

    def run_into(store: Store, prepared: Plan) -> tuple[RunDirectory, RunResult]:
        spec = msgspec.structs.replace(prepared.spec, env="sim")
        run, _ = execute.run_into(store, prepare(spec), is_watched=False)
        return run, RunResult(verdict, interrupted=True, signal="SIGTERM")

    monkeypatch.setattr("harness.campaign.runner.run_into", run_into)
    store = tmp_path / "store"
    ran = themis_ended("campaign", "run", tmp_path / "c.yaml", "--store", store)
    assert ran.returncode == expected, ran.stdout
    assert "in the middle of" in ran.stderr
    outcomes = CampaignFolder.find(store, "real").outcomes()
    assert [each.validity for each in outcomes] == noted
    assert all(Path(each.run).is_dir() for each in outcomes)


def test_one_of_a_kind_is_told_as_one(campaign: Campaign) -> None:
    failed = ended(0, 1, Validity.UNKNOWN, harness="up: no luck")
    assert "harness failure  1 run; the first: up: no luck" in as_text(report_of(campaign, [failed], [], (), TODAY))
    assert Counts(1, 9, {}, 1, 1.0, None).words.endswith("; 1 kind of failure so far")
    spec = msgspec.structs.replace(campaign.cells[0].spec, nodes=("n1",))
    op = ScriptedOp(thread=0, time_ns=0, f="read", value=None)
    case = Case(spec, Schedule(seed=1, nodes=("n1",), entries=()), Script(ops=(op,)))
    assert case.size == "1 client op by 1 client, 0 fault ops, 1 node, 2 s"


def test_a_run_that_is_invalid_and_names_no_anomaly_is_a_finding(tmp_path: Path, campaign: Campaign) -> None:
    with_a_finding(tmp_path, campaign, classes=())
    told = themis_ended("campaign", "report", "--store", tmp_path)
    assert told.returncode == INVALID, told
    assert "FINDING  raft+volatile-log: unnamed" in told.stdout


@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_campaign_interrupted_at_random_moments_comes_to_the_same(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and kill -9, each several times, at any moment of a real command."""
    (tmp_path / "c.yaml").write_text(SMALL.replace("1..3", "1..40").replace("20s", "1s"))
    words = [sys.executable, "-m", "harness", "campaign"]
    rng = random.Random(16)

    def begin(*more: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen([*words, *more, "--jobs", "2"], cwd=tmp_path, stdout=quiet, stderr=quiet)

    def done() -> int:
        results = list((tmp_path / "store" / "campaigns").glob("*/*/results.jsonl"))
        return results[0].read_bytes().count(b"\n") if results else 0

    begun = begin("run", "c.yaml")
    interrupted = 0
    for turn in range(200):
        # After a few more runs, or at once, which is while it starts.
        enough = done() + rng.choice((0, 1, 3, 5))
        while begun.poll() is None and done() < enough:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        if begun.poll() is not None:
            break
        os.kill(begun.pid, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[turn % 3])
        begun.wait(60)
        interrupted += 1
        exists = any((tmp_path / "store" / "campaigns").glob("*/*/campaign.json"))
        begun = begin("resume") if exists else begin("run", "c.yaml")
    assert begun.wait(300) == INVALID
    assert interrupted >= 3
    parts = CampaignFolder.find(tmp_path / "store", "latest").outcomes()
    campaign = read_campaign(tmp_path / "c.yaml")
    whole = CampaignFolder.create(tmp_path / "whole", campaign)
    CampaignRunner(Store(tmp_path / "whole"), whole, campaign).run(AtOnce(), 1)
    assert sorted(map(told, parts), key=repr) == sorted(map(told, whole.outcomes()), key=repr)


KNOWN = KnownFinding(target="raft", anomaly="linearizable/cas-register/*", reason="stale reads", expires=TODAY)
OLD, NEW, QUEUE = (
    "linearizable/cas-register/old state",
    "invariants/election-safety",
    "linearizable/fifo-queue/no such state",
)


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (((OLD,), (OLD, NEW)), VALID),
        (((OLD,), (OLD, NEW), (NEW,)), INVALID),
        (((OLD,), (QUEUE,)), INVALID),
    ],
)
def test_a_known_finding_hides_no_run_that_shows_nothing_of_it(
    shown: tuple[tuple[str, ...], ...], code: int, tmp_path: Path
) -> None:
    campaign = campaign_of(tmp_path, "name: known\nseeds: 1..9\nrun: {time-limit: 1}\nrequire: {unknown-share: 1}\n")
    bad = [ended(0, seed, Validity.INVALID, *classes) for seed, classes in enumerate(shown, 1)]
    good = [ended(0, seed, Validity.VALID) for seed in range(len(bad) + 1, 10)]
    found = report_of(campaign, [*bad, *good], [], [KNOWN], TODAY)
    assert found.code == code
    assert sum(not finding.expected for finding in found.findings) == (code == INVALID)


def test_a_finding_that_cannot_be_kept_is_noted_and_told(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    store = tmp_path / "store"
    store.mkdir()
    (store / "small").write_text("in the way of the kept runs")
    ran = themis_ended("campaign", "run", tmp_path / "c.yaml", "--store", store)
    assert ran.returncode == INVALID, ran.stderr
    assert "not kept: " in ran.stdout
    assert len(CampaignFolder.find(store, "small").outcomes()) == 6


def test_a_file_of_known_findings_that_is_gone_is_refused_before_anything_runs(
    tmp_path: Path, campaign: Campaign
) -> None:
    gone = msgspec.structs.replace(campaign, known=str(tmp_path / "known.yaml"))
    folder = CampaignFolder.create(tmp_path / "store", gone)
    assert_refused(themis_ended("campaign", "resume", "small", "--store", tmp_path / "store"), "known.yaml")
    assert not folder.results.exists()
