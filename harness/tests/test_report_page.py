"""The page of a run: every verdict and every kind of evidence has one, it holds what happened, and nothing in it can act."""

from __future__ import annotations

import base64
import html.parser
import re
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from checkers.evidence import ClockSample, ClockSeries, Edge, Evidence, Finding, Findings, OpNote
from checkers.linearizability import linearizable
from checkers.models.registry import find
from checkers.verdict import Validity, Verdict
from harness.cli import run_command
from harness.report.page import columns, document, report
from harness.report.page.columns import Column, pack_ops
from harness.report.page.report import history_page, run_page
from harness.report.page.series import clock_offsets, stale_reads
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import HarnessFailure, Result, RunDirectory, Store, write_json
from harness.tests.test_failure import KINDS, LOST, SPEC, S, done, kill, numbered, result_of
from histories import jsonl
from histories.history import History
from histories.op import Op

EVIL = "</script><script>alert(1)</script>\"'\n\x1b[2J\u202e<img src=x onerror=alert(2)>"

SIM = RunSpec(
    env="sim",
    seed=3,
    time_limit_s=12.0,
    interval_s=2.0,
    rate_hz=100.0,
    concurrency=10,
    nemesis=("partition", "kill"),
    bugs=("reply-before-commit",),
)


class Parts(html.parser.HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._open = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data


def data_of(page: bytes) -> dict[str, Any]:
    """What the page's scripts read."""
    return msgspec.json.decode(zlib.decompress(base64.b64decode(Parts(page).texts["data"])), type=dict[str, Any])


def numbers(page: bytes) -> dict[str, Any]:
    """The columns of the operations, as the scripts unpack them."""
    data = data_of(page)
    raw = np.frombuffer(zlib.decompress(base64.b64decode(Parts(page).texts["ops"])), dtype=np.uint8)
    found, place = {}, 0
    for column in msgspec.convert(data["columns"], tuple[Column, ...]):
        planes = raw[place : place + column.planes * data["count"]].reshape(column.planes, -1).astype(np.int64)
        place += column.planes * data["count"]
        content = sum((plane << (8 * number) for number, plane in enumerate(planes)), np.zeros(data["count"], np.int64))
        found[column.name] = np.cumsum(content) if column.is_delta else content
    assert place == len(raw)
    return found


def stored(directory: Path, result: Result, history: History, spec: RunSpec = SPEC) -> RunDirectory:
    """A run's folder with these files."""
    run = Store(directory / "store").create(spec, "made")
    run.release()
    jsonl.write(run.history, history)
    write_json(run.verdict, result)
    return run


ODD = Finding(
    "a read before its write",
    key=5,
    ops=(OpNote(LOST[0].index, "too old"), OpNote(LOST[len(LOST) - 1].index, "too new"), OpNote(10**9)),
    edges=(
        Edge(LOST[0].index, LOST[len(LOST) - 1].index, "real time"),
        Edge(LOST[len(LOST) - 1].index, LOST[0].index, "it read"),
    ),
)
EVIDENCE: list[Evidence | None] = [kind for kind, _ in KINDS] + [
    Findings((ODD,)),
    linearizable(LOST, find("cas-register")).evidence,
    linearizable(LOST, find("cas-register"), states_max=1).evidence,
]
EMPTY = History(())


@pytest.mark.parametrize("validity", list(Validity))
@pytest.mark.parametrize("number", range(len(EVIDENCE)))
def test_every_verdict_and_evidence_has_a_page(number: int, validity: Validity) -> None:
    verdict = Verdict(validity, "mine", "" if validity is Validity.VALID else "what the verdict says", EVIDENCE[number])
    data = data_of(history_page("made", LOST, verdict))
    assert data["validity"] == validity.value
    assert bool(data["failures"]) == (validity is not Validity.VALID)
    assert [part["validity"] for part in data["parts"]] == [validity.value]
    assert data["count"] == sum(op.type == "invoke" and op.is_client for op in LOST)
    assert [fault["title"] for fault in data["faults"]] == ["kill n1", "kill n2"]


@pytest.mark.parametrize("history", [EMPTY, LOST], ids=["empty", "ops"])
@pytest.mark.parametrize("validity", list(Validity))
def test_a_failed_harness_and_an_empty_history_have_a_page(
    tmp_path: Path, history: History, validity: Validity
) -> None:
    verdict = Verdict(validity, "all", "" if validity is Validity.VALID else "nothing was done")
    result = Result(verdict, harness=(HarnessFailure("heal", "a rule stayed", "Traceback"),))
    data = data_of(run_page(stored(tmp_path, result, history)))
    assert data["harness"] == [{"phase": "heal", "error": "a rule stayed"}]
    assert data["count"] == sum(op.type == "invoke" and op.is_client for op in history)


def test_the_columns_hold_every_operation() -> None:
    page = history_page("made", LOST, Verdict.valid("mine"))
    data, table = data_of(page), numbers(page)
    pairs = [(begun, ended) for begun, ended in LOST.pairs() if begun.is_client]
    end_ns = max(op.time for op in LOST)

    def text(number: int) -> str:
        return data["texts"][number - 1] if number else ""

    for i, (begun, ended) in enumerate(pairs):
        assert table["begin"][i] == begun.time
        assert table["took"][i] == (end_ns if ended is None else ended.time) - begun.time
        assert table["process"][i] == begun.process
        assert text(table["f"][i]) == begun.f
        assert text(table["value"][i]) == ("" if begun.value is None else msgspec.json.encode(begun.value).decode())
        assert columns.TYPES["info" if ended is None else ended.type] == table["type"][i]
        assert table["invoke"][i] == begun.index
        assert ended is None or table["complete"][i] == ended.index - begun.index
        node = begun.node if ended is None or ended.node is None else ended.node
        assert data["nodes"][table["node"][i] - 1] == node


def test_long_values_are_kept_once_and_short() -> None:
    huge = "x" * 10_000_000
    ops = [Op(i, i, "invoke" if i % 2 == 0 else "ok", 0, "write", 1, huge) for i in range(20)]
    packed = pack_ops(History(ops), ["n1"])
    assert sum(map(len, packed.texts)) < 1_000
    assert packed.count == 10


def test_the_first_screen_says_which_op_where_the_data_was_lost_and_under_which_fault(tmp_path: Path) -> None:
    run, result = execute.run_into(Store(tmp_path), plan.prepare(SIM))
    assert result.verdict.validity is Validity.INVALID
    data = data_of(run_page(run))
    failure = data["failures"][0]
    wrong, cause, faults = failure["cards"]
    assert re.fullmatch(
        r"A read of key \d+ returned \S+, although .+ had been acknowledged .+ earlier\.", failure["headline"]
    )
    assert wrong["question"] == "The wrong operation"
    assert cause["question"] == "Where the data was lost"
    assert re.match(r"\d+\.\d{3} s: n\d, .+ removed it", cause["answer"])
    assert "in force when it was acknowledged" in faults["detail"]
    lost = [moment for moment in failure["moments"] if moment["tag"] == "data lost"]
    assert len(lost) == 1
    losses = [time for part in failure["custody"].values() for time, _ in part["losses"]]
    assert lost[0]["time_ns"] in losses
    assert {op["invoke"] for op in failure["ops"] if "failed" in op["roles"]} <= {int(op) for op in failure["served"]}
    # The second run, with messages, is the same one: something was sent in each window, and it names the run's nodes.
    assert data["windows"]
    for window in data["windows"]:
        for sent, source, _, target, *_ in window["arrows"]:
            assert sent <= window["until_ns"]
            assert {source, target} <= set(SIM.nodes)
    assert {log["node"] for log in data["logs"]} == set(SIM.nodes)
    assert not list(run.path.glob("messages*"))


def test_nothing_in_a_page_can_act(tmp_path: Path) -> None:
    ops = [
        msgspec.structs.replace(op, key=EVIL, error=EVIL, node=EVIL, f=op.f if op.is_client else EVIL)
        for op in numbered(
            *done(S, 1, "write", EVIL, "n1"), *kill(1, 2 * S, 3 * S), *done(4 * S, 2, "read", None, "n2", result="y")
        )
    ]
    evil = Finding(EVIL, key=EVIL, ops=(OpNote(0, EVIL),), edges=(Edge(0, 1, EVIL),), nodes=(EVIL,))
    verdict = Verdict.invalid(EVIL, EVIL, evidence=Findings((evil,)))
    result = Result(verdict, claim=EVIL, harness=(HarnessFailure(EVIL, EVIL, EVIL),))
    run = stored(tmp_path, result, History(ops))
    (run.nodes / "n1").mkdir()
    (run.nodes / "n1" / "node.log").write_text(f"1.0 {EVIL}\n" * 10_000)
    page = run_page(run)
    assert b"alert(" not in page
    assert b"<img" not in page
    parts = Parts(page)
    assert parts.tags.count("script") == 3
    assert not {name for name, _ in parts.attributes} & {"src", "onerror", "onclick", "style", "srcdoc"}
    told = msgspec.json.encode(data_of(page)).decode()
    assert "\\u202e<img" in told.replace("\\\\u202e", "\\u202e"), "it is shown, as an escape"
    assert "\u202e" not in told
    assert "\x1b" not in told


def test_the_policy_allows_this_pages_own_texts_alone() -> None:
    page = history_page("made", LOST, Verdict.valid("mine"))
    parts = Parts(page)
    [content] = [text or "" for name, text in parts.attributes if name == "content" and "default-src" in (text or "")]
    assert content.startswith("default-src 'none'; ")
    assert "unsafe" not in content
    assert document.digest(document.script()) in content
    assert document.digest(document.asset("page.css")) in content


def test_every_static_file_is_part_of_a_page() -> None:
    names = {path.name for path in document.STATIC.iterdir() if not path.name.startswith("serve.")}
    assert names == {*document.PAGE_SCRIPTS, "page.css", "page.html"}


def test_a_report_that_crashes_changes_neither_verdict_nor_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crashes(*_: Any) -> None:
        raise ZeroDivisionError("the page cannot count")

    monkeypatch.setattr(report, "page_data", crashes)
    arguments = [
        "test",
        "--env",
        "sim",
        "--seed",
        "3",
        "--bug",
        "stale-read",
        "--nemesis",
        "partition",
        "--time-limit",
        "4",
    ]
    assert run_command([*arguments, "--store", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "INVALID" in said.out
    assert "no report.html: the page cannot count; the verdict stands" in said.err
    [log] = tmp_path.glob("raft-register-*/2*/themis.log")
    assert "ZeroDivisionError" in log.read_text()
    assert not list(tmp_path.glob("raft-register-*/2*/report.html"))


def test_a_run_that_is_not_valid_has_its_page_and_one_that_is_can_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "test",
        "--env",
        "sim",
        "--seed",
        "3",
        "--nemesis",
        "partition",
        "--time-limit",
        "4",
        "--store",
        str(tmp_path),
    ]
    assert run_command([*common, "--bug", "stale-read", "--name", "bad"]) == 1
    assert len(list(tmp_path.glob("bad/2*/report.html"))) == 1
    assert "report.html" in capsys.readouterr().out
    assert run_command([*common, "--name", "good"]) == 0
    [run] = tmp_path.glob("good/2*")
    assert not (run / "report.html").exists()
    assert run_command(["report", "good/latest", "--store", str(tmp_path)]) == 0
    assert data_of((run / "report.html").read_bytes())["validity"] == "valid"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: run.verdict.unlink(), "no verdict"),
        (lambda run: run.history.unlink(), "No such file"),
        (lambda run: run.verdict.write_text('{"version": 99}'), "newer one"),
        (lambda run: run.verdict.write_text("{"), "writes it anew"),
        (lambda run: run.history.write_text("{}\n"), "history.jsonl"),
        (lambda run: run.spec.unlink(), "spec.json"),
    ],
    ids=["no verdict", "no history", "newer", "damaged", "no header", "no spec"],
)
def test_what_cannot_be_shown_is_said_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, words: str
) -> None:
    run = stored(tmp_path, result_of("mine", Verdict.valid()), LOST)
    spoil(run)
    assert run_command(["report", str(run.path), "--store", str(tmp_path / "store")]) == 254
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_check_writes_the_page_of_any_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonl.write(tmp_path / "history.jsonl", LOST)
    page = tmp_path / "failure.html"
    arguments = ["check", str(tmp_path / "history.jsonl"), "--model", "cas-register", "--report"]
    assert run_command([*arguments, str(page)]) == 1
    data = data_of(page.read_bytes())
    assert data["failures"][0]["headline"].startswith(
        "A read of key 5 returned 7, although write 9 had been acknowledged 19."
    )
    assert [fault["title"] for fault in data["faults"]] == ["kill n1", "kill n2"]
    assert run_command([*arguments, str(tmp_path / "nowhere" / "failure.html")]) == 254
    assert "there is no folder" in capsys.readouterr().err


def test_clock_offsets_come_from_fault_results_where_nobody_sampled_them() -> None:
    def moved(index: int, time_ns: int, offsets: dict[str, int | None]) -> Op:
        value = {"status": "installed", "did": None, "evidence": {"offsets_ns": offsets}}
        return Op(index, time_ns, "info", "nemesis", "start-clock", None, value)

    history = History([moved(0, 10, {"n1": 0, "n2": 7}), moved(1, 20, {"n1": 5, "n2": None})])
    assert clock_offsets(history, []) == {"n1": [(10, 0), (20, 0), (20, 5)], "n2": [(10, 7)]}
    assert clock_offsets(History([moved(0, 10, {"n1": 0})]), []) == {}
    sampled = Verdict.valid("clocks", evidence=ClockSeries((ClockSample(3, {"n1": 9, "n2": None}),)))
    assert clock_offsets(history, [sampled]) == {"n1": [(3, 9)]}


def test_stale_reads_are_plotted_with_their_age() -> None:
    calls = [(0, "write", 1), (10, "write", 2), (30, "read", 1), (50, "read", 2)]
    ops = []
    for number, (time_ns, f, value) in enumerate(calls):
        ops.append(Op(2 * number, time_ns, "invoke", 0, f, None, value if f == "write" else None))
        ops.append(Op(2 * number + 1, time_ns + 5, "ok", 0, f, None, value))
    assert stale_reads(History(ops)) == [(30, 15)]
    assert stale_reads(History([])) == []
    twice = [*ops, Op(8, 60, "invoke", 0, "write", None, 1), Op(9, 61, "ok", 0, "write", None, 1)]
    assert stale_reads(History(twice)) is None
    assert stale_reads(History([Op(0, 0, "invoke", 0, "enqueue", None, 1)])) is None


def test_the_sides_of_a_cut_are_there_also_where_nobody_measured_what_they_served() -> None:
    cut = {"grudge": {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}}
    result = {
        "status": "installed",
        "did": cut,
        "begins": [{"id": "p-1", "name": "partition", "nodes": {"n1": {"began_ns": 5}}}],
    }
    ops = [Op(0, 5, "info", "nemesis", "start-partition", None, result)]
    ops += [Op(i + 1, 6 + i, "invoke", i, "read", None, None, node=f"n{i + 1}") for i in range(3)]
    data = data_of(history_page("cut", History(ops), Verdict.valid("mine")))
    assert sorted(len(side["nodes"]) for side in data["faults"][0]["sides"]) == [1, 2]
