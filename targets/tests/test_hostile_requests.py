"""What strangers may send to a node: each gets a status and a sentence, and the node lives on without a traceback."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets import secret
from targets.tests.running import SECRET, RunningNode, running, started

pytestmark = pytest.mark.real

WRITE = b'{"f":"write","key":"a","value":'
VOTE = b'{"term":1,"candidate_id":"n2","last_log_index":0,"last_log_term":0}'
ENTRIES = (
    b'{"term":1,"leader_id":"n2","prev_log_index":0,"prev_log_term":0,"entries":[{"term":1,"command":'
    b'{"f":"write","key":"a","value":%s}}],"leader_commit":0,"sequence":1}'
)
FROM_N2 = f"{secret.HEADER}: {SECRET}\r\nThemis-Node: n2\r\n"
PROVEN = f"{secret.HEADER}: {SECRET}\r\n"


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def post(path: str, body: bytes, headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def exchange(port: int, text: bytes) -> bytes:
    """What the node says until it closes the connection, or for as long as the response says."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(text)
        said = b""
        while b"\r\n\r\n" not in said or len(said.partition(b"\r\n\r\n")[2]) < _length(said):
            piece = raw.recv(65536)
            if not piece:
                break
            said += piece
        return said


def _length(said: bytes) -> int:
    digits = said.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return int(digits) if digits.isdigit() else 0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    directory = tmp_path_factory.mktemp("node")
    with running(directory, "--target", "raft", "--peer", "n2=127.0.0.1:1", "--peer", "n3=127.0.0.1:1") as found:
        yield found


CASES: dict[str, tuple[bytes, int, str]] = {
    "a value 63 deep": (post("/kv", WRITE + deep(63) + b"}"), 200, "not-leader"),
    "a value 64 deep": (post("/kv", WRITE + deep(64) + b"}"), 400, "nested more than 64 deep"),
    "a value 980 deep": (post("/kv", WRITE + deep(980) + b"}"), 400, "nested more than 64 deep"),
    "a value 100,000 deep": (post("/kv", WRITE + deep(100_000) + b"}"), 400, "nested more than 64 deep"),
    "deep in a field that is not known": (post("/kv", b'{"f":"read","x":' + deep(980) + b"}"), 400, "nested more"),
    "invalid UTF-8": (post("/kv", WRITE + b'"\xff"}'), 400, "not UTF-8"),
    "overlong UTF-8": (post("/kv", WRITE + b'"\xc0\x80"}'), 400, "not UTF-8"),
    "half of a surrogate pair": (post("/kv", WRITE + b'"\\ud800"}'), 400, ""),
    "a number of 5,000 digits": (post("/kv", WRITE + b"9" * 5000 + b"}"), 400, "out of range"),
    "an op of other digits": (post("/kv", b'{"f":"read"}', "Themis-Op: \xb2\r\n"), 200, "not-leader"),
    "an op of 5,000 digits": (post("/kv", b'{"f":"read"}', f"Themis-Op: {'9' * 5000}\r\n"), 200, "not-leader"),
    "a peer without the secret": (post("/raft/append_entries", ENTRIES % b"1", "Themis-Node: n2\r\n"), 403, "missing"),
    "a peer with another secret": (
        post("/raft/request_vote", VOTE, f"Themis-Node: n2\r\n{secret.HEADER}: {SECRET}x\r\n"),
        403,
        "not this run's",
    ),
    "the clock without the secret": (post("/clock", b'{"offset_ns":1}'), 403, "only the run's controller"),
    "the epoch without the secret": (post("/epoch", b'{"epoch_ns":1}'), 403, "only the run's controller"),
    "a secret that is no text": (post("/clock", b"{}", f"{secret.HEADER}: \xff\xfe\r\n"), 403, "not this run's"),
    "two secrets": (post("/clock", b"{}", PROVEN + PROVEN), 400, "there are two"),
    "a message that names another sender": (
        post("/raft/request_vote", VOTE.replace(b"n2", b"n3"), FROM_N2),
        400,
        "candidate_id: the message is from 'n3', and n2 sent it",
    ),
    "entries that name another leader": (
        post("/raft/append_entries", (ENTRIES % b"1").replace(b'"n2"', b'"n3"'), FROM_N2),
        400,
        "leader_id: the message is from 'n3', and n2 sent it",
    ),
    "a sender that is no peer": (
        post("/raft/request_vote", VOTE, PROVEN + "Themis-Node: n9\r\n"),
        400,
        "is not a peer",
    ),
    "a sender of escapes": (post("/raft/request_vote", VOTE, PROVEN + "Themis-Node: \xa0\x9b31m\r\n"), 400, "\\x9b31m"),
    "a message 129 deep": (
        post("/raft/append_entries", ENTRIES % deep(125), FROM_N2),
        400,
        "nested more than 128 deep",
    ),
    "no length": (b"POST /kv HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 411, "Content-Length"),
    "a length that is none": (b"POST /kv HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400, "not a number"),
    "a length of other digits": (b"POST /kv HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400, "not a number"),
    "a length of 5,000 digits": (
        b"POST /kv HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000),
        413,
        "larger than",
    ),
    "two lengths": (b"POST /kv HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n", 400, "there are two"),
    "a body of 17 MB": (b"POST /kv HTTP/1.1\r\nContent-Length: 17825792\r\n\r\n", 413, "larger than 16777216 bytes"),
    "a header of 1 MB": (b"GET /status HTTP/1.1\r\nX: " + b"x" * 2**20, 431, "larger than 16384 bytes"),
    "10,000 headers": (b"GET /status HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431, "more than 64 headers"),
    "a header that is none": (b"GET /status HTTP/1.1\r\nno header\r\n\r\n", 400, "a header that is none"),
    "a folded header": (b"GET /status HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", 400, "a header that is none"),
    "a null in a header": (b"GET /status HTTP/1.1\r\nA: \0\r\n\r\n", 400, "a header that is none"),
    "a null after 16,000 spaces": (
        b"GET /status HTTP/1.1\r\nA:" + b" " * 16_000 + b"\0\r\n\r\n",
        400,
        "a header that is none",
    ),
    "no HTTP": (b"\x16\x03\x01 nonsense\r\n\r\n", 400, "not an HTTP/1.1 request"),
    "a path of other bytes": (b"GET /\xff\x1b[31m HTTP/1.1\r\n\r\n", 400, "not an HTTP/1.1 request"),
    "another expectation": (b"POST /kv HTTP/1.1\r\nExpect: more\r\n\r\n", 417, "100-continue"),
    "a route that is none": (b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 5000), 404, "no route /xxx"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_stranger_gets_a_status_and_a_sentence(node: RunningNode, name: str) -> None:
    text, status, words = CASES[name]
    said = exchange(node.port, text)
    assert said.startswith(b"HTTP/1.1 %d " % status), said[:300]
    _, _, body = said.partition(b"\r\n\r\n")
    assert words in body.decode().replace("\\\\", "\\"), body[:300]
    assert len(body) < 1000
    assert node.status()["node"] == "n1"
    assert "Traceback" not in node.log()


def test_the_one_that_shows_the_secret_is_heard(node: RunningNode) -> None:
    assert exchange(node.port, post("/clock", b'{"offset_ns":0}', PROVEN)).startswith(b"HTTP/1.1 200 ")
    assert exchange(node.port, post("/raft/pre_vote", VOTE, FROM_N2)).startswith(b"HTTP/1.1 200 ")


def test_a_half_sent_request_is_closed_after_a_few_seconds(node: RunningNode) -> None:
    halves = [
        b"",
        b"GET /sta",
        b"POST /kv HTTP/1.1\r\nContent-Le",
        b"POST /kv HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
    ]
    began_s = time.monotonic()
    opened = []
    for half in halves:
        raw = socket.create_connection(("127.0.0.1", node.port), timeout=60)
        raw.sendall(half)
        opened.append(raw)
    for raw, half in zip(opened, halves, strict=True):
        said = raw.recv(65536)
        assert said.startswith(b"HTTP/1.1 408 ") if half else said == b""
        raw.close()
    assert time.monotonic() - began_s > 4, "a slow client has that long"


def test_the_connections_of_one_address_are_bounded_and_the_idle_give_way(node: RunningNode) -> None:
    from targets.http_server import CONNECTIONS_OF_HOST_MAX

    opened = [
        socket.create_connection(("127.0.0.1", node.port), timeout=30) for _ in range(CONNECTIONS_OF_HOST_MAX + 50)
    ]
    try:
        assert node.status()["node"] == "n1", "one more is served"
        assert opened[0].recv(1) == b"", "the oldest gave way"
        opened[-1].sendall(b"GET /status HTTP/1.1\r\n\r\n")
        assert opened[-1].recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        for raw in opened:
            raw.close()


def test_clients_that_do_not_read_hold_a_bounded_memory(tmp_path: Path) -> None:
    with running(tmp_path, "--target", "raft") as node:
        deadline_s = time.monotonic() + 60
        while node.status()["role"] != "leader":
            assert time.monotonic() < deadline_s
        large = WRITE + b'"' + b"x" * 8 * 2**20 + b'"}'
        assert exchange(node.port, post("/kv", large)).startswith(b"HTTP/1.1 200 ")
        opened = []
        for _ in range(60):
            raw = socket.create_connection(("127.0.0.1", node.port), timeout=60)
            raw.sendall(post("/kv", b'{"f":"read","key":"a"}') * 100)
            opened.append(raw)
        assert node.status()["role"] == "leader"
        peak = next(
            line
            for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        assert int(peak.split()[1]) < 700 * 1024, peak
        for raw in opened:
            raw.close()
        assert "Traceback" not in node.log()


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o644, "a-secret-of-enough-characters", "others may read it: chmod 600"),
        (0o600, "short", "a secret has 16 to 1024 characters"),
        (0o600, "", "a secret has 16 to 1024 characters"),
        (0o600, "with blanks in the middle", "a secret has 16 to 1024 characters"),
        (None, "", "No such file or directory"),
    ],
)
def test_a_bad_secret_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, text: str, words: str, capfd: Any
) -> None:
    from targets.node import main

    file = tmp_path / "secret"
    if mode is not None:
        file.write_text(text)
        file.chmod(mode)
    monkeypatch.setenv(secret.FILE_VARIABLE, str(file))
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    arguments = ["--target", "raft", "--id", "n1", "--listen", "127.0.0.1:1", "--data-dir", str(tmp_path / "data")]
    assert main([*arguments, "--peer", "n2=127.0.0.1:2"]) == 254
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_node_by_hand_takes_its_secret_from_a_file_or_has_no_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("targets.tests.running.SECRET", "")
    with started(tmp_path, "--target", "raft", "--peer", "n2=127.0.0.1:1") as refused:
        assert refused.exit_status() == 254
        assert secret.FILE_VARIABLE in refused.error_text()
    with running(tmp_path, "--target", "raft") as alone:
        assert alone.ask("POST", "/clock", b"{}")[0] == 403
    file = tmp_path / "secret"
    file.write_text("a-secret-from-a-file\n")
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv(secret.FILE_VARIABLE, str(file))
    with running(tmp_path, "--target", "raft", "--peer", "n2=127.0.0.1:1") as node:
        assert node.ask("POST", "/clock", b"{}")[0] == 403
        assert node.ask("POST", "/clock", b"{}", {secret.HEADER: "a-secret-from-a-file"})[0] == 200
