"""A node is a process that serves, survives bad input, and recovers from a kill."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from histories.tracing import TraceRecord, kind_of
from targets import node, node_arguments
from targets.tests.running import RunningNode, free_port, running, started

pytestmark = pytest.mark.real

PEER = ("--peer", "n2=127.0.0.1:1")
FROM_N2 = {"Themis-Node": "n2"}


def write(node: RunningNode, key: str, value: Any) -> None:
    assert node.ask("POST", "/kv", {"f": "write", "key": key, "value": value}) == (
        200,
        {"value": None, "node": None},
    )


def read(node: RunningNode, key: str) -> Any:
    code, body = node.ask("POST", "/kv", {"f": "read", "key": key})
    assert code == 200
    return body["value"]


def until(condition: Any) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_bad_input_is_answered_in_words_and_the_node_lives_on(tmp_path: Path) -> None:
    with running(tmp_path, *PEER) as node:
        for method, path, body, headers, code, words in (
            ("GET", "/nowhere", None, {}, 404, "no route /nowhere"),
            ("POST", "/status", b"", {}, 405, "/status takes GET, not POST"),
            ("GET", "/kv", None, {}, 405, "/kv takes POST, not GET"),
            ("POST", "/kv", b"", {}, 400, "truncated"),
            ("POST", "/kv", b"{", {}, 400, "truncated"),
            ("POST", "/kv", b'{"f": 1}', {}, 400, "f: Expected `str`, got `int`"),
            ("POST", "/kv", b"{}", {}, 400, "missing required field `f`"),
            ("POST", "/kv", b'{"f":"write","value":' + b"[" * 50_000, {}, 400, "nested more than 64 deep"),
            ("POST", "/echo/ping", b'{"number": 1}', {}, 400, "header Themis-Node: missing"),
            ("POST", "/echo/ping", b'{"number": 1}', {"Themis-Node": "n9"}, 400, "'n9' is not a peer"),
            ("POST", "/echo/ping", b'{"number": "x"}', FROM_N2, 400, "number: Expected `int`"),
            ("POST", "/echo/ping", b'{"number": 99999999999999999999}', FROM_N2, 400, "number: integer out of range"),
            ("POST", "/kv", b" " * (17 * 2**20), {}, 413, "larger than"),
            ("POST", "/clock", b'{"rate": 0}', {}, 400, "rate: 0.0 is not between"),
            ("POST", "/clock", b'{"offset": 1}', {}, 400, "unknown field `offset`"),
        ):
            found, answer = node.ask(method, path, body, headers)
            assert (found, words in answer["error"]) == (code, True), (path, found, answer)
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as raw:
            raw.sendall(b"\0\1\2 nonsense\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert node.ask("POST", "/echo/ping", {"number": 5}, FROM_N2) == (200, {"number": 5, "records": 0})
        assert node.ask("POST", "/echo/note", {"text": "hello"}, FROM_N2) == (204, None)
        status = node.status()
        assert status["notes"] == ["hello"]
        assert (status["node"], status["pid"], status["disk_damage"]) == ("n1", node.process.pid, None)
        assert "Traceback" not in node.log()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        for number in range(10):
            write(node, f"k{number % 3}", number)
        assert node.status()["syncs"] == list(range(1, 11))
    with running(tmp_path) as node:
        assert [read(node, f"k{key}") for key in range(3)] == [9, 7, 8]
        assert node.status()["log_length"] == 10


def test_a_torn_record_is_cut_off_and_damage_is_told_to_the_core(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        write(node, "a", 1)
    log = tmp_path / "data" / "wal.log"
    log.write_bytes(log.read_bytes() + b"\x40\0\0\0half")
    with running(tmp_path) as node:
        assert read(node, "a") == 1
        assert node.status()["damage"] is None
        assert "torn record of 8 bytes" in node.log()
    data = bytearray(log.read_bytes())
    data[-2] ^= 1
    log.write_bytes(data)
    with running(tmp_path) as node:
        assert read(node, "a") is None
        assert "do not match their checksum" in node.status()["damage"]


def test_peers_reach_each_other_and_a_dead_one_is_found_again(tmp_path: Path) -> None:
    ports = {"n1": free_port(), "n2": free_port()}
    to = {node: f"{node}=127.0.0.1:{port}" for node, port in ports.items()}
    with running(tmp_path / "n1", "--peer", to["n2"], port=ports["n1"]) as first:
        with running(tmp_path / "n2", "--peer", to["n1"], port=ports["n2"], node="n2"):
            until(lambda: first.status()["pongs"]["n2"] > 3 and first.status()["pinged"]["n2"] > 3)
        before = first.status()["pongs"]["n2"]
        with running(tmp_path / "n2", "--peer", to["n1"], port=ports["n2"], node="n2"):
            until(lambda: first.status()["pongs"]["n2"] > before + 3)


def test_a_machine_is_served_on_the_route_of_its_name_and_refuses_a_bad_command(tmp_path: Path) -> None:
    with running(tmp_path, "--target", "raft", "--interface", "lock") as node:
        until(lambda: node.status()["role"] == "leader")
        assert node.status()["interface"] == "lock"
        length = node.status()["log_length"]
        for body, words in (
            (b'{"f": "acquire", "key": "x"}', "missing required field `value`"),
            (b'{"f": "acquire", "key": "x", "value": null}', "value: Expected `int | str`, got `null`"),
            (b'{"f": "write", "key": "x", "value": 1}', "f: Invalid value 'write'"),
        ):
            status, answer = node.ask("POST", "/lock", body)
            assert status == 400
            assert words in answer["error"]
        assert node.ask("POST", "/kv", b'{"f": "read"}')[0] == 404
        assert node.status()["log_length"] == length, "nothing of it reached the log"
        acquire = {"f": "acquire", "key": "x", "value": "me"}
        assert node.ask("POST", "/lock", acquire) == (200, {"status": "ok", "result": 1})
        assert node.ask("POST", "/lock", acquire) == (200, {"status": "refused", "reason": "held"})
        assert node.ask("POST", "/lock", {"f": "release", "key": "x", "value": "me"}) == (200, {"status": "ok"})
    with running(
        tmp_path, "--target", "raft", "--interface", "lock"
    ) as node:  # The records on the disk are the machine's.
        until(lambda: node.status()["role"] == "leader")
        assert node.ask("POST", "/lock", acquire) == (200, {"status": "ok", "result": 2})


def test_exit_statuses(tmp_path: Path) -> None:
    with running(tmp_path / "a") as node:
        node.process.send_signal(signal.SIGTERM)
        assert node.exit_status() == 0
    for f, status, words in (("halt", 3, "the core halted: asked to"), ("raise", 4, "the core raised on Request")):
        with running(tmp_path / f) as node:
            with pytest.raises(OSError, match=r"closed|reset|Remote"):
                node.ask("POST", "/kv", {"f": f})
            assert node.exit_status() == status
            assert words in node.log()


@pytest.mark.parametrize(
    "target",
    [
        "raft",
        "paxos",
        "paxos-single --interface consensus",
        "gossip",
        "gossip --option mode=quorum --option replicas=1 --option read_quorum=1 --option write_quorum=1",
        "2pc",
    ],
)
def test_a_core_that_does_not_take_its_disk_has_an_exit_status_of_its_own(target: str, tmp_path: Path) -> None:
    arguments = ["--target", *target.split()]
    log = tmp_path / "data" / "wal.log"
    with running(tmp_path, *arguments):
        pass
    log.write_bytes(log.read_bytes() + b"\4\0\0\0" + b"\0\0\0\0" + b"oops")
    with started(tmp_path, *arguments) as node:
        assert node.exit_status() == 6
        assert "the core halted: " in node.log()


def test_an_address_or_a_disk_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "a") as node:
        with started(tmp_path / "b", port=node.port) as second:
            assert second.exit_status() == 254
            assert f"--listen 127.0.0.1:{node.port}: the address is in use" in second.error_text()
        with started(tmp_path / "a") as second:
            assert second.exit_status() == 254
            assert "wal.log is in use by another process" in second.error_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--bug", "dear"), "--bug dear: targets.tests.echo:TARGET has deaf"),
        (("--option", "pingms=3"), "--option pingms: targets.tests.echo:TARGET has mode, ping_ms"),
        (("--option", "ping_ms=soon"), "--option: Expected `int`, got `str` - at `$.ping_ms`"),
        (("--option", "ping_ms"), "--option ping_ms: expected NAME=VALUE"),
        (("--peer", "n2=nowhere"), "--peer nowhere: expected host:port"),
        (("--listen", "127.0.0.1:99999"), "--listen 127.0.0.1:99999: expected host:port"),
        (("--target", "rift"), "--target rift: known are"),
        (("--target", "targets.tests.echo:NOTHING"), "--target targets.tests.echo:NOTHING: module"),
        (("--interface", "queue"), "--interface queue: targets.tests.echo:TARGET has kv"),
        (("--wrong",), "unrecognized arguments: --wrong"),
        (("--data-dir", "/proc/nothing"), "--data-dir /proc/nothing:"),
    ],
)
def test_a_wrong_command_line_is_254_and_one_message(
    tmp_path: Path, arguments: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from targets.node import main

    common = ["--target", "targets.tests.echo:TARGET", "--id", "n1", "--listen", "127.0.0.1:1"]
    assert main([*common, "--data-dir", str(tmp_path), *arguments]) == 254
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_the_clock_hook_moves_the_clock_and_its_rate_the_timers(tmp_path: Path) -> None:
    with running(tmp_path, "--option", "ping_ms=300000") as node:
        code, answer = node.ask("POST", "/clock", {"offset_ns": 3600 * 10**9})
        assert code == 200
        assert 3500 < answer["clock_ns"] / 1e9 - time.time() < 3700
        assert node.status()["fired"] == [], "a jump moves no timer"
        node.ask("POST", "/clock", {"rate": 1000.0})
        until(lambda: node.status()["fired"])
        node.ask("POST", "/clock", {"offset_ns": 0, "rate": 2.0})
        assert node.status()["clock_rate"] == 2.0
        node.ask("POST", "/clock", {"offset_ns": 0, "rate": 1.0})
        assert abs(node.status()["clock_ns"] / 1e9 - time.time()) < 5


def test_trace_times_count_from_the_beginning_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMIS_EPOCH_NS", "pending")
    with running(tmp_path) as node:
        trace = tmp_path / "trace.jsonl"
        assert trace.read_text() == "", "kept until the beginning is known"
        epoch_ns = time.time_ns()
        assert node.ask("POST", "/epoch", {"epoch_ns": epoch_ns})[0] == 200
        write(node, "a", 1)
        until(lambda: trace.read_text().count("\n") == 4)
        took_ns = time.time_ns() - epoch_ns
        records = [msgspec.json.decode(line, type=TraceRecord) for line in trace.read_text().splitlines()]
        assert [(record.node, kind_of(record.event)) for record in records] == [
            ("n1", "started"),
            ("n1", "began"),
            ("n1", "write"),
            ("n1", "served"),
        ]
        assert records[0].time < 0
        assert 0 < records[-1].time < took_ns + 10**9


def test_a_failed_disk_is_told_to_the_core_which_halts(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        write(node, "a", 1)
        import resource

        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (os.path.getsize(tmp_path / "data" / "wal.log"),) * 2)
        with pytest.raises(OSError, match=r"closed|reset|Remote"):
            node.ask("POST", "/kv", {"f": "write", "key": "a", "value": 2})
        assert node.exit_status() == 3


def test_the_log_is_utf_8_and_utc_whatever_the_locale_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness reads it so, and it tells of what clients sent."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", given.update)
    arguments = ["--target", "raft", "--id", "n1", "--listen", "127.0.0.1:1", "--data-dir", str(tmp_path)]
    node._configure_logging(node_arguments.parse([*arguments, "--log-dir", str(tmp_path)]))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    (handler,) = given["handlers"]
    assert handler.encoding == "utf-8"
    handler.handle(logging.makeLogRecord({"created": 3661.0, "msecs": 0.0, "msg": "a body with \u00e9 and \udcff"}))
    handler.close()
    monkeypatch.undo()
    time.tzset()
    assert "\u00e9" in (tmp_path / "node.log").read_text(encoding="utf-8")
    assert (tmp_path / "node.log").read_text(encoding="utf-8").startswith("01:01:01.000 ")
