"""Starts a node as a process and asks it by HTTP; for tests."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from targets import secret

TARGET = "targets.tests.echo:TARGET"
SECRET = "the-secret-of-the-nodes"


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningNode:
    """A node's process. Paths of `ask` are routes; the answer is (status, decoded body or None)."""

    def __init__(self, directory: Path, port: int, arguments: Sequence[str], node: str = "n1") -> None:
        self.directory = directory
        self.port = port
        self.argv = [sys.executable, "-m", "targets.node", "--target", TARGET, "--id", node]
        self.argv += ["--listen", f"127.0.0.1:{port}", "--data-dir", str(directory / "data")]
        self.argv += ["--log-dir", str(directory), *arguments]
        self.process = subprocess.Popen(self.argv, stderr=subprocess.PIPE, env={**os.environ, secret.VARIABLE: SECRET})

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """headers: beside the secret; an empty one of that name leaves it out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = json.dumps(body) if isinstance(body, Mapping) else body
            shown = {secret.HEADER: SECRET, **(headers or {})}
            connection.request(method, path, data, {name: value for name, value in shown.items() if value})
            response = connection.getresponse()
            answer = response.read()
            return response.status, json.loads(answer) if answer else None
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, body = self.ask("GET", "/status")
        assert code == 200
        assert isinstance(body, dict)
        return body

    def wait_until_up(self) -> RunningNode:
        deadline_s = time.monotonic() + 20
        while True:
            try:
                self.status()
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline_s, self.log()
                time.sleep(0.01)
            else:
                return self

    def log(self) -> str:
        path = self.directory / "node.log"
        return path.read_text() if path.exists() else ""

    def exit_status(self) -> int:
        return self.process.wait(20)

    def error_text(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def running(directory: Path, *arguments: str, port: int | None = None, node: str = "n1") -> Iterator[RunningNode]:
    """A node that answers; killed at the end."""
    started = RunningNode(directory, free_port() if port is None else port, arguments, node)
    try:
        yield started.wait_until_up()
    finally:
        started.close()


@contextmanager
def started(directory: Path, *arguments: str, port: int | None = None) -> Iterator[RunningNode]:
    """A node's process, whether it comes up or not; killed at the end."""
    process = RunningNode(directory, free_port() if port is None else port, arguments)
    try:
        yield process
    finally:
        process.close()
