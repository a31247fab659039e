"""`themis serve` in a real Chromium: a table of a thousand runs, search, pages, compare, and a run's page in its sandbox."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from checkers.verdict import Verdict
from harness.spec import RunSpec
from harness.store.runs import Result, write_json
from harness.tests.browser import Browser, chromium
from harness.tests.test_failure import LOST
from harness.tests.test_report_page import EVIL
from harness.tests.test_serve import LOST_ONE, a_campaign, made
from histories import jsonl

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

RUNS = 1_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    spec = msgspec.json.encode(RunSpec(nodes=("n1", "n2", "n3")))
    good = msgspec.json.encode(Result(Verdict.valid("set"), counts={"ok": 3, "fail": 40, "info": 0}))
    for number in range(RUNS):
        folder = root / "many" / f"20260101T{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}.000Z"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_bytes(spec.replace(b'"seed":0', b'"seed":%d' % number))
        (folder / "verdict.json").write_bytes(good)
        (folder / "history.jsonl").write_bytes(b"")
    made(root, "bad", LOST_ONE)
    evil = made(root, "evil", Verdict.invalid(EVIL, EVIL), spec=RunSpec(target=EVIL, nodes=("n1",)))
    write_json(evil.verdict, Result(Verdict.invalid(EVIL, EVIL)))
    jsonl.write(evil.history, LOST)
    a_campaign(root, evil, EVIL)
    return root


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """Where a `themis serve` of the store answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "harness", "serve", "--store", str(store), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as server:
        try:
            assert server.stdout is not None
            told = re.match(r"(http://\S+/)", server.stdout.readline())
            assert told is not None
            yield told[1]
        finally:
            server.terminate()


def opened(browser: Browser, address: str) -> None:
    for _ in range(200):  # It says its address just before it listens.
        try:
            browser.open(address)
            return
        except Exception as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
    raise AssertionError("it never listened")


def assert_quiet(browser: Browser, address: str) -> None:
    assert browser.complaints() == []
    assert [each for each in browser.requests() if not each.startswith(address)] == []


def test_a_thousand_runs_search_and_pages(browser: Browser, address: str) -> None:
    opened(browser, address)
    assert "1002 runs and 1 campaign:" in browser.value("document.getElementById('says').textContent")
    assert browser.value("document.querySelectorAll('#rows tr').length") == 50
    browser.run("document.getElementById('after').click()")
    browser.wait("document.getElementById('page').textContent.startsWith('51 to 100')")
    browser.run("const q = document.getElementById('query'); q.value = 'seed:77'; q.dispatchEvent(new Event('input'))")
    browser.wait("document.getElementById('says').textContent.includes('; ')")
    assert "q=seed" in browser.value("location.hash")
    assert_quiet(browser, address)


def test_hostile_runs_are_text_and_new_ones_appear(browser: Browser, address: str, store: Path) -> None:
    opened(browser, f"{address}#verdict=invalid")
    assert browser.value("document.querySelectorAll('img, #rows script').length") == 0
    assert "<img" in browser.value("document.getElementById('rows').textContent")
    made(store, "just-now", LOST_ONE)
    browser.wait("document.getElementById('rows').textContent.includes('just-now')")
    assert_quiet(browser, address)


def test_a_campaign_opens_to_its_findings_and_one_of_its_runs(browser: Browser, address: str) -> None:
    opened(browser, f"{address}#kind=campaign")
    assert browser.value("document.querySelectorAll('#rows tr').length") == 1
    browser.run("document.querySelector('#rows button').click()")
    browser.wait("document.getElementById('campaign').textContent.includes('2 of 10 runs')")
    shown = browser.value("document.getElementById('campaign').textContent")
    assert "<img" in shown
    assert "null" not in shown
    assert browser.value("document.querySelectorAll('img, #campaign script').length") == 0
    href = browser.value("document.querySelector('#campaign a').href")
    assert_quiet(browser, address)
    opened(browser, f"{address}{browser.value('location.hash')}")
    browser.wait("!document.getElementById('campaign').hidden")
    browser.open(href)
    assert "INVALID" in browser.value("document.querySelector('h1').textContent")


def test_two_runs_compared_and_one_opened(browser: Browser, address: str) -> None:
    opened(browser, f"{address}#verdict=invalid")
    browser.run("[...document.querySelectorAll('#rows input')].slice(0, 2).forEach(box => box.click())")
    browser.run("document.getElementById('compare').click()")
    browser.wait("!document.getElementById('comparison').hidden")
    assert "Two runs compared" in browser.value("document.getElementById('comparison').textContent")
    href = browser.value("document.querySelector('#rows a').href")
    assert_quiet(browser, address)
    browser.open(href)
    assert browser.value("document.documentElement.dataset.ready") == "1"
    assert "INVALID" in browser.value("document.querySelector('h1').textContent")
    browser.keys("w")
    assert_quiet(browser, address)
