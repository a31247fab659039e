"""`themis serve`: only GET, nothing outside the store, every value as text, and a table that searches, sorts and pages."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from checkers.evidence import Finding, Findings
from checkers.verdict import Validity, Verdict
from harness.campaign.campaign_file import Campaign, Cell, Requirements
from harness.campaign.outcome import Outcome
from harness.campaign.pages import CampaignPages
from harness.campaign.state import CampaignFolder, Saved, Shrunk
from harness.cli import run_command
from harness.report.page.report import write_report
from harness.report.serve.server import Server, is_loopback
from harness.spec import RunSpec
from harness.store import files
from harness.store.runs import Result, RunDirectory, Store, write_json
from harness.tests.test_failure import LOST, SPEC
from harness.tests.test_report_page import EVIL
from histories import jsonl
from histories.history import History

LOST_ONE = Verdict.invalid("write 9 was lost", "set", evidence=Findings((Finding("write 9 was lost"),)))


def made(
    root: Path, name: str, verdict: Verdict | None, *, spec: RunSpec = SPEC, is_held: bool = False
) -> RunDirectory:
    """A stored run; without a verdict it was cut off, or still goes on."""
    run = Store(root).create(spec, name)
    jsonl.write(run.history, LOST)
    if verdict is not None:
        write_json(run.verdict, Result(verdict, counts={"ok": 3, "fail": 40, "info": 0}))
    if not is_held:
        run.release()
    return run


@asynccontextmanager
async def served(root: Path, host: str = "127.0.0.1") -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(Server(Store(root), host, CampaignPages(root)).application())) as client:
        yield client


def answers(root: Path, *addresses: str, method: str = "GET", **more: Any) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each address, from one server."""

    async def ask() -> list[tuple[int, dict[str, str], bytes]]:
        async with served(root) as client:
            found = []
            for address in addresses:
                response: ClientResponse = await client.request(method, address, **more)
                found.append((response.status, dict(response.headers), await response.read()))
            return found

    return asyncio.run(ask())


def table(root: Path, query: str = "") -> dict[str, Any]:
    [(status, _, body)] = answers(root, f"/api/runs?{query}")
    assert status == 200, body
    return msgspec.json.decode(body, type=dict[str, Any])


def test_the_table_has_every_run_however_it_ended(tmp_path: Path) -> None:
    made(tmp_path, "good", Verdict.valid("set"))
    made(tmp_path, "bad", LOST_ONE)
    made(tmp_path, "cut", None)
    running = made(tmp_path, "runs", None, is_held=True)
    made(tmp_path, "broken", LOST_ONE).verdict.write_text("{")
    made(tmp_path, "deep", LOST_ONE).verdict.write_bytes(b'{"verdict":' + b'{"parts":{"a":' * 100_000)
    made(tmp_path, "odd", LOST_ONE).verdict.write_bytes(b'{"verdict":{"validity":"\xff"}}')
    (tmp_path / "no-run" / "x").mkdir(parents=True)
    data = table(tmp_path)
    by_name = {row["name"]: row for row in data["rows"]}
    assert {name: row["verdict"] for name, row in by_name.items()} == {
        "good": "valid",
        "bad": "invalid",
        "cut": "unfinished",
        "runs": "running",
        "broken": "unreadable",
        "deep": "unreadable",
        "odd": "unreadable",
    }
    assert by_name["bad"]["anomaly"] == "write 9 was lost"
    counted = {kind: sum(op.type == kind and op.is_client for op in LOST) for kind in ("ok", "fail", "info")}
    assert {kind: by_name["runs"][kind] for kind in counted} == counted
    running.release()


def test_counts_of_a_running_test_grow_with_its_history(tmp_path: Path) -> None:
    run = made(tmp_path, "runs", None, is_held=True)
    lines = run.history.read_bytes().splitlines(keepends=True)
    run.history.write_bytes(b"".join(lines[:5]) + lines[5][:7])

    async def counts() -> list[int]:
        found = []
        async with served(tmp_path) as client:
            for more in (b"", lines[5][7:] + b"".join(lines[6:])):
                with run.history.open("ab") as file:
                    file.write(more)
                data = await (await client.get("/api/runs")).json()
                found.append(data["rows"][0]["ok"] + data["rows"][0]["fail"] + data["rows"][0]["info"])
        return found

    first, all_of_them = asyncio.run(counts())
    assert first < all_of_them == sum(op.type != "invoke" and op.is_client for op in LOST)
    run.release()


def a_campaign(root: Path, run: RunDirectory, title: str = "nemesis kill") -> CampaignFolder:
    """Two of its ten runs are done: one lost a write, and is kept."""
    spec = msgspec.structs.replace(SPEC, nemesis=("kill",), bugs=("no-fsync",))
    plan = Campaign("nightly", (Cell(title, spec),), (1, 10), 1, None, None, 3, None, Requirements())
    folder = CampaignFolder.create(root, plan)
    lost = Outcome(
        cell=0, seed=1, validity=Validity.INVALID, classes=("lost",), words=title, ops=9, ok=5, run=str(run.path)
    )
    folder.add(lost)
    folder.add(Outcome(cell=0, seed=2, validity=Validity.VALID, ops=9, ok=9, elapsed_s=3.0))
    folder.add_shrunk(Shrunk(cell=0, seed=1, run=str(run.path), size="3 ops"))
    return folder


def test_campaigns_are_rows_and_open_to_their_findings_and_runs(tmp_path: Path) -> None:
    run = made(tmp_path, "bad", LOST_ONE)
    folder = a_campaign(tmp_path, run)
    of = f"of=nightly/{folder.path.name}"
    data = table(tmp_path)
    assert (data["total"], data["campaigns"], data["found"]) == (1, 1, 2)
    (row,) = table(tmp_path, "kind=campaign")["rows"]
    assert (row["name"], row["verdict"], row["runs"], row["planned"]) == ("nightly", "invalid", 2, 10)
    assert (row["ok"], row["fail"], row["duration_s"], row["faults"]) == (14, 4, 3.0, "kill")
    assert row["anomaly"] == "raft+no-fsync: lost (1 run)"
    assert [row["kind"] for row in table(tmp_path, "kind=run&q=bad")["rows"]] == ["run"]
    [(status, _, body)] = answers(tmp_path, f"/api/campaign?{of}")
    found = msgspec.json.decode(body)
    assert status == 200
    (finding,) = found["findings"]
    assert finding["shrunk"] == finding["runs"][0]["run"] == f"bad/{run.path.name}"
    assert found["cells"] == [["nemesis kill", 2, 1, 0, 1, 0, "78%"]]
    with folder.held():
        assert table(tmp_path, "kind=campaign")["rows"][0]["verdict"] == "running"
    folder.add(Outcome(cell=0, seed=3, validity=Validity.VALID))
    assert table(tmp_path, "kind=campaign")["rows"][0]["runs"] == 3


def test_a_finding_is_expected_as_soon_as_the_file_of_known_ones_says_so(tmp_path: Path) -> None:
    folder = a_campaign(tmp_path, made(tmp_path, "bad", LOST_ONE))
    known = tmp_path / "known.yaml"
    campaign = msgspec.structs.replace(folder.read(), known=str(known))
    write_json(folder.plan, Saved(campaign=campaign))
    pages = CampaignPages(tmp_path)
    known.write_text("known: []\n")
    assert [row.verdict for row in pages.rows()] == ["invalid"]
    known.write_text('known: [{target: "*", anomaly: "*", reason: known, expires: 2999-01-01}]\n')
    assert [row.verdict for row in pages.rows()] != ["invalid"]


def test_a_zip_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, "bad", LOST_ONE)
    (run.path / "large").write_bytes(b"x" * 100_000)
    monkeypatch.setattr(files, "WHOLE_BYTES_MAX", 99_999)
    [(status, _, body)] = answers(tmp_path, f"/run/bad/{run.path.name}/run.zip")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        root = f"bad-{run.path.name}"
        assert {f"{root}/spec.json", f"{root}/left-out.txt"} <= set(archive.namelist())
        assert b"large: 100,000 bytes" in archive.read(f"{root}/left-out.txt")


def test_what_a_campaign_holds_is_text_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    run = made(tmp_path, "bad", LOST_ONE)
    elsewhere = made(tmp_path / "other", "bad", LOST_ONE)
    of = a_campaign(tmp_path, elsewhere, EVIL).path.name
    broken = a_campaign(tmp_path, run)
    broken.plan.write_text("{")
    newer = a_campaign(tmp_path, run)
    newer.plan.write_bytes(re.sub(rb'"version": ?1', b'"version": 99', newer.plan.read_bytes()))
    rows = table(tmp_path, "kind=campaign&verdict=unreadable")["rows"]
    assert sorted("version 99" in row["anomaly"] for row in rows) == [False, True]
    paths = [f"/api/campaign?of={each}" for each in (f"nightly/{of}", f"nightly/{broken.path.name}", "../x", "", "a/b")]
    good, *bad = answers(tmp_path, *paths)
    assert good[0] == 200
    assert b"\x1b" not in good[2]
    assert msgspec.json.decode(good[2])["findings"][0]["runs"][0]["run"] == "", "a run outside the store is not linked"
    assert [status for status, _, _ in bad] == [404] * 4


def test_search_sort_filter_and_pages(tmp_path: Path) -> None:
    for seed in range(7):
        spec = msgspec.structs.replace(SPEC, seed=seed)
        made(tmp_path, f"run{seed}", LOST_ONE if seed % 2 else Verdict.valid("set"), spec=spec)
    assert [row["seed"] for row in table(tmp_path, "sort=seed&down=0&first=2&count=3")["rows"]] == [2, 3, 4]
    assert table(tmp_path, "q=seed:3+lost")["found"] == 1
    data = table(tmp_path, "verdict=invalid&sort=seed")
    assert [row["seed"] for row in data["rows"]] == [5, 3, 1]
    assert (data["total"], data["found"], data["totals"]) == (7, 3, {"valid": 4, "invalid": 3})
    for query in ("sort=__class__", "first=-1", "count=x"):
        [(status, _, body)] = answers(tmp_path, f"/api/runs?{query}")
        assert status == 400
        assert b"Traceback" not in body


def test_two_runs_compared(tmp_path: Path) -> None:
    one = made(tmp_path, "one", LOST_ONE)
    two = made(tmp_path, "two", Verdict.valid("set"), spec=msgspec.structs.replace(SPEC, seed=99))
    [(status, _, body)] = answers(tmp_path, f"/api/compare?a=one/{one.path.name}&b=two/{two.path.name}")
    data = msgspec.json.decode(body)
    assert status == 200
    assert data["spec"] == [["seed", "0", "99"]]
    assert data["checks"] == [["set", "invalid", "valid"]]


def test_the_page_the_files_and_the_zip_of_a_run(tmp_path: Path) -> None:
    run = made(tmp_path, "bad", LOST_ONE)
    (run.nodes / "n1").mkdir()
    (run.nodes / "n1" / "node.log").write_text("1.0 up\n")
    (run.path / "link").symlink_to("/etc/passwd")
    place = f"/run/bad/{run.path.name}"
    made_now, spec, packed = answers(tmp_path, f"{place}/report.html", f"{place}/spec.json", f"{place}/run.zip")
    assert made_now[0] == spec[0] == packed[0] == 200
    assert b'id="ops"' in made_now[2]
    assert not (run.path / "report.html").exists(), "the store is only read"
    assert made_now[1]["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert spec[1]["Content-Type"].startswith("text/plain")
    with zipfile.ZipFile(io.BytesIO(packed[2])) as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert names == {"spec.json", "history.jsonl", "verdict.json", "node.log"}
    write_report(run)
    [stored] = answers(tmp_path, f"{place}/report.html")
    assert stored[2] == (run.path / "report.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/run/../../../etc/passwd",
        "/run/bad/..%2f..%2f..%2fetc/spec.json",
        "/run/bad/%2e%2e/spec.json",
        "/run/%2e%2e/{time}/spec.json",
        "/run/bad/{time}/..%2f..%2fsecret.txt",
        "/run/bad/{time}/link",
        "/run/bad/{time}/findings.json",
        "/run/bad/latest/spec.json",
        "/run/other/{time}/spec.json",
        "/run/bad/{time}%00/spec.json",
        "/static/../page.html",
        "/static/page.html",
        "/api/compare?a=..%2f..&b=bad",
        "/api/compare",
        "/favicon.ico",
    ],
)
def test_nothing_outside_the_store_is_reached(tmp_path: Path, path: str) -> None:
    store = tmp_path / "store"
    run = made(store, "bad", LOST_ONE)
    (tmp_path / "secret.txt").write_text("secret")
    (run.path / "link").symlink_to(tmp_path / "secret.txt")
    (store / "other").symlink_to(run.path.parent)
    (run.path.parent / "latest").symlink_to(run.path.name)
    for method in ("GET", "HEAD"):
        [(status, headers, body)] = answers(store, path.replace("{time}", run.path.name), method=method)
        assert status in (403, 404), (status, body)
        assert b"secret" not in body
        assert b"root:" not in body
        assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(tmp_path: Path, method: str) -> None:
    run = made(tmp_path, "bad", LOST_ONE)
    addresses = ("/", "/api/runs", f"/run/bad/{run.path.name}/spec.json")
    assert {status for status, _, _ in answers(tmp_path, *addresses, method=method)} == {405}


def test_a_foreign_name_for_this_host_is_refused(tmp_path: Path) -> None:
    for name, status in (("evil.example", 403), ("127.0.0.1:9", 200), ("localhost", 200), ("[::1]:8080", 200)):
        assert answers(tmp_path, "/", headers={"Host": name})[0][0] == status
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("localhost.evil.example")


def test_hostile_names_and_values_are_escaped(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, target=EVIL, workload=EVIL)
    run = made(tmp_path, "bad", Verdict.invalid(EVIL, EVIL), spec=spec)
    jsonl.write(run.history, History([msgspec.structs.replace(op, error=EVIL) for op in LOST]))
    [(_, headers, body)] = answers(tmp_path, "/api/runs")
    assert headers["Content-Type"].startswith("application/json")
    assert headers["X-Content-Type-Options"] == "nosniff"
    told = body.decode()
    assert "\\u001b" not in told, "a control character is shown as an escape, not sent"
    assert "\u202e" not in told
    (tmp_path / EVIL.replace("/", "_").replace("\n", "_")[:60]).mkdir()
    assert table(tmp_path)["total"] == 1


def test_a_run_that_cannot_be_shown_is_said_so_in_one_line(tmp_path: Path) -> None:
    cut = made(tmp_path, "cut", None)
    newer = made(tmp_path, "newer", LOST_ONE)
    newer.verdict.write_text('{"version": 99, "verdict": {"validity": "valid"}}')
    for run, words in ((cut, b"no verdict"), (newer, b"newer one")):
        [(status, _, body)] = answers(tmp_path, f"/run/{run.path.parent.name}/{run.path.name}/report.html")
        assert status == 404
        assert words in body
        assert b"Traceback" not in body


def test_a_port_in_use_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command(["serve", "--store", str(tmp_path), "--port", str(port)]) == 254
    assert "choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["x" * 300, "a..b", "no such host"])
def test_a_host_that_is_none_is_one_message(host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["serve", "--store", str(tmp_path), "--host", host]) == 254
    assert "choose another with --port or --host" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.long
def test_each_signal_ends_it_with_its_own_code_and_one_line(number: signal.Signals, tmp_path: Path) -> None:
    made(tmp_path, "bad", LOST_ONE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "harness", "serve", "--store", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/runs") as answer:
                assert answer.status == 200
                break
            time.sleep(0.1)
        server.send_signal(number)
        _, said = server.communicate()
    assert (server.returncode, said) == (128 + number, f"themis: interrupted by {number.name}\n")
