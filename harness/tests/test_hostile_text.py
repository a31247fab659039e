"""What a history, a node, a file or another user wrote acts on no terminal and fills none, whatever command shows it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.cli import run_command
from harness.environments import leftovers
from harness.environments.base import EnvironmentUnavailable
from harness.report.difference import first_difference
from harness.run.execute import run_into
from harness.run.live import Progress, View
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.store.runs import RunDirectory, Store
from histories import jsonl
from histories.history import History
from histories.op import Op

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r"
"""Clears the screen, names the window, colours, turns the direction of text, and writes over the line."""
HUGE = EVIL + "x" * 10_000_000
SPEC = RunSpec(
    env="sim", nodes=("n1", "n2", "n3"), concurrency=4, time_limit_s=2.0, quiet_s=0.1, seed=3, bugs=("stale-read",),
    nemesis=("partition",), env_options={"messages": True},
)  # fmt: skip
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SCREENS = 20_000
"""Characters: the most that a command may print, whatever it was given."""


def assert_harmless(captured: Any, *words: str, most: int = SCREENS) -> None:
    printed = captured.out + captured.err
    assert not HARMFUL.search(printed), ascii(HARMFUL.search(printed))
    assert len(printed) < most
    for word in words:
        assert word in printed, printed[:2_000]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with a violation, every text of whose files is hostile."""
    store = Store(tmp_path_factory.mktemp("hostile") / "store")
    run, result = run_into(store, prepare(SPEC))
    assert result.verdict.validity.value == "invalid"
    verdict = msgspec.json.decode(run.verdict.read_bytes())
    run.verdict.write_bytes(msgspec.json.encode(spoilt(verdict) | {"harness": [{"phase": EVIL, "error": HUGE}]}))
    spec = msgspec.json.decode(run.spec.read_bytes())
    run.spec.write_bytes(
        msgspec.json.encode(spec | {"target": EVIL, "workload": EVIL, "bugs": [EVIL], "consistency": HUGE})
    )
    ops = list(jsonl.read(run.history).history)
    jsonl.write(run.history, History([msgspec.structs.replace(op, f=op.f, error=EVIL, node=EVIL) for op in ops]))
    messages = run.path / "messages.jsonl"
    lines = [msgspec.json.decode(line) for line in messages.read_bytes().splitlines()]
    messages.write_bytes(b"".join(msgspec.json.encode(line | {"what": EVIL + "y" * 500}) + b"\n" for line in lines))
    return run


WORDS = ("reason", "checker", "in_words", "because", "why", "words", "note", "title", "traceback", "error", "rule")
"""Fields of a verdict that hold text."""


def spoilt(found: Any) -> Any:
    """The same verdict, its texts and the names of its parts hostile."""
    if isinstance(found, dict):
        named = {name: spoilt(value) for name, value in found.items()}
        named |= {name: HUGE[:300_000] for name in WORDS if isinstance(found.get(name), str)}
        for name in ("claim", "target_claims", "signal"):
            if name in named:
                named[name] = EVIL
        if isinstance(named.get("parts"), dict):
            named["parts"] = {name + EVIL: part for name, part in named["parts"].items()}
        return named
    return [spoilt(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("inspect", "{run}"), "INVALID"),
        (("inspect", "{run}", "--window", "10000", "--span", "3600000"), "INVALID"),
        (("list",), "invalid"),
        (("prune", "--keep", "0"), "would remove"),
        (("analyze", "{run}"), "unknown target"),
        (("replay", "{run}"), "unknown target"),
        (("check", "{run}/history.jsonl", "--model", "register"), ""),
        (("check", "{run}/history.jsonl", "--model", EVIL), "unknown model"),
        (("check", EVIL, "--model", "register"), "No such file"),
        (("inspect", EVIL), "no run"),
        (("test", "--target", HUGE[:20_000]), "unknown target"),
        (("test", "--env", EVIL), "unknown environment"),
        (("test", "--nodes", EVIL), "no host name"),
        ((EVIL,), "unknown command"),
        (("test", EVIL), "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value)[:30].encode("unicode_escape").decode() if isinstance(value, tuple) else None,
)
def test_no_command_lets_it_through(
    arguments: tuple[str, ...], word: str, failed: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [each.replace("{run}", str(failed.path)) for each in arguments]
    stored = ("list", "prune", "analyze", "replay", "inspect")
    run_command([*words, *(["--store", str(failed.path.parents[1])] if words[0] in stored else [])])
    most = 200_000 if "10000" in words else SCREENS
    assert_harmless(capsys.readouterr(), word, most=most)


NODE = ("--id", "n1", "--listen", "127.0.0.1:1", "--data-dir", "/nowhere")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "are required"),
        ((EVIL, *NODE), "known are"),
        (("raft", *NODE, f"--{EVIL}"), "unrecognized arguments"),
        (("raft", *NODE, "--seed"), "expected one argument"),
        (("raft", *NODE, "--listen", EVIL), "expected host:port"),
        (("raft", *NODE, "--listen", f"{EVIL}:1" + "0" * 6000), "expected host:port"),
        (("raft", *NODE, "--peer", HUGE[:100_000]), "expected NAME=VALUE"),
        (("raft", *NODE, "--peer", f"n2={EVIL}"), "expected host:port"),
        (("raft", *NODE, "--option", f"{EVIL}=1"), "raft has"),
        (("raft", *NODE, "--option", f"heartbeat_ms={EVIL}"), "Expected"),
        (("raft", *NODE, "--bug", EVIL), "raft has"),
        (("raft", *NODE, "--interface", EVIL), "raft has"),
    ],
    ids=lambda value: " ".join(value)[-30:].encode("unicode_escape").decode() if isinstance(value, tuple) else None,
)
def test_a_node_by_hand_refuses_a_command_line_in_one_message(
    arguments: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["node", *arguments]) == 254
    told = capsys.readouterr()
    assert_harmless(told, "themis node: ", word, most=9_000)
    assert len(told.err.splitlines()) == 1


def test_the_log_of_a_node_is_harmless_and_takes_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data directory is a file, so that the node ends as soon as it has begun."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    (tmp_path / "file").write_text("")
    name = f"n%1{EVIL}"
    arguments = ["--listen", "127.0.0.1:1", "--data-dir", str(tmp_path / "file"), "--log-dir", str(tmp_path)]
    assert run_command(["node", "raft", "--id", name, *arguments]) == 254
    logging.getLogger().critical("a peer said %s", EVIL)
    (handler,) = logging.getLogger().handlers
    handler.close()
    told = (tmp_path / "node.log").read_text()
    assert "n%1" in told
    assert not HARMFUL.search(told)
    assert_harmless(capsys.readouterr())


def test_the_traceback_that_debug_shows_is_harmless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_arguments: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setenv("THEMIS_DEBUG", "1")
    monkeypatch.setattr(leftovers, "find", crash)
    assert run_command(["cleanup"]) == 255
    assert_harmless(capsys.readouterr(), "Traceback", "unexpected RuntimeError")


def test_json_is_whole_and_harmless(failed: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["inspect", str(failed.path), "--json"]) == 0
    told = capsys.readouterr().out
    assert not HARMFUL.search(told)
    assert msgspec.json.decode(told)["result"]["harness"][0]["error"] == HUGE


def test_a_value_of_ten_megabytes_takes_a_few_hundred_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(
        path,
        History(
            [
                Op(0, 0, "invoke", 0, "write", None, HUGE),
                Op(1, 1, "ok", 0, "write", None, HUGE),
                Op(2, 2, "invoke", 0, "read", None, None),
                Op(3, 3, "ok", 0, "read", None, HUGE + "1"),
            ]
        ),
    )
    assert run_command(["check", str(path), "--model", "register"]) == 1
    assert_harmless(capsys.readouterr(), "INVALID", most=3_000)


def test_folders_with_such_names_are_listed_and_pruned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "store" / EVIL / ("20260101T000000.000Z" + EVIL)
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    for arguments in (["list"], ["prune", "--keep", "0"], ["inspect", "2026"], ["analyze", "2026"]):
        run_command([*arguments, "--store", str(tmp_path / "store")])
        assert_harmless(capsys.readouterr())


def test_what_is_left_on_the_machine_and_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Left:
        description = HUGE

        def remove(self) -> str:
            return HUGE

    monkeypatch.setattr(leftovers, "find", lambda: [Left()])
    assert run_command(["cleanup"]) == 255
    assert_harmless(capsys.readouterr(), most=2_000)

    def lacking(name: str) -> Any:
        def environment(*_arguments: object) -> None:
            raise EnvironmentUnavailable(HUGE)

        return environment

    monkeypatch.setattr("harness.environments.registry.find", lacking)
    assert run_command(["doctor"]) == 255
    assert_harmless(capsys.readouterr(), "python")


def test_the_live_line_and_a_difference() -> None:
    progress = Progress(10.0)
    progress.activity = "main"
    for number in range(4):
        progress.note(Op(2 * number, number, "invoke", number, "read"))
        progress.note(Op(2 * number + 1, number, "fail", number, "read", None, None, HUGE[:100_000]))
    progress.note(Op(8, 5, "invoke", "nemesis", EVIL))
    told = View(progress, lambda: HUGE[:100_000]).line()
    assert not HARMFUL.search(told)
    assert len(told) < 400
    difference = first_difference(EVIL.encode() + b"a\n", EVIL.encode() + b"b\n")
    assert difference is not None
    assert not HARMFUL.search(difference)
