"""A small key-value server that knows nothing of this project: one file, the standard library, a line protocol of its own.

    python outside_server.py --config FILE

The file is JSON: {"id": "n1", "client": "HOST:PORT", "peer": "HOST:PORT", "data": DIR, "members": {"n1": "HOST:PORT", ...},
"lease_ms": 0}. The members' addresses are those of their peer ports, as all of them write it.

One node, the first by name, is the home of all data; the others pass what they are asked on to its peer port. So what clients
see is linearizable, and while the home is dead or cut off nobody else can answer. Nothing is served before a table was created.

    CREATE              OK
    GET key             VALUE json
    SET key json        OK
    CAS key json json   OK, MISMATCH
    STATUS              VALUE json

    UNSENT why          it certainly did not happen
    UNKNOWN why         it may have happened, or still will

With lease_ms, a node that passes a GET on may answer the next ones from memory until the home's wall clock plus so much, and
the home lets a SET wait for as long: which is right only where all clocks agree.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

FORWARD_TIMEOUT_S = 1.0
LOOK_S = 0.02


class Log:
    """What must not be lost: a line for each change, synced before it is acknowledged."""

    def __init__(self, path: Path) -> None:
        self.values: dict[str, object] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            key, value = json.loads(line)
            self.values[key] = value
        self._file = path.open("ab", buffering=0)
        self._file.truncate(len(whole))  # The end that a crash tore off was never acknowledged.
        self._table = path.with_name("table")

    @property
    def is_created(self) -> bool:
        return self._table.exists()

    def create(self) -> None:
        self._table.touch()

    def set(self, key: str, value: object) -> None:
        self._file.write(json.dumps([key, value]).encode() + b"\n")
        os.fsync(self._file.fileno())
        self.values[key] = value


class Home:
    """Holds the data."""

    def __init__(self, log: Log, lease_s: float) -> None:
        self.log = log
        self.lease_s = lease_s
        self._leased_until: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # Leases of an earlier life are not remembered: they have run out by then.
        self._may_write_s = time.monotonic() + 2 * lease_s

    async def do(self, words: list[str]) -> str:
        match words:
            case ["CREATE"]:
                self.log.create()
                return "OK"
            case _ if not self.log.is_created:
                return "UNSENT there is no table"
            case ["GET", key]:
                return f"VALUE {json.dumps(self.log.values.get(key))}"
            case ["LEASE", key]:
                until = 0.0
                # A write that waits for leases to run out must not wait for ever.
                if not self._lock(key).locked() and time.monotonic() > self._may_write_s:
                    until = time.time() + self.lease_s
                    self._leased_until[key] = max(until, self._leased_until.get(key, 0.0))
                return f"LEASED {until!r} {json.dumps(self.log.values.get(key))}"
            case ["SET", key, value]:
                async with self._lock(key):
                    await self._leases_over(key)
                    self.log.set(key, json.loads(value))
                return "OK"
            case ["CAS", key, old, new]:
                async with self._lock(key):
                    await self._leases_over(key)
                    if self.log.values.get(key) != json.loads(old):
                        return "MISMATCH"
                    self.log.set(key, json.loads(new))
                return "OK"
            case _:
                return "UNSENT bad request"

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _leases_over(self, key: str) -> None:
        if not self.lease_s:
            return
        # The wall clock may be set meanwhile, so that it has to be looked at again and again.
        while time.monotonic() < self._may_write_s or time.time() <= self._leased_until.get(key, 0.0):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)


class Passer:
    """Passes what it is asked on to the home, over connections that are kept."""

    def __init__(self, host: str, port: int, lease_s: float) -> None:
        self._address = (host, port)
        self._lease_s = lease_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._leases: dict[str, tuple[float, str]] = {}

    async def do(self, words: list[str]) -> str:
        if self._lease_s and words[0] == "GET":
            until, value = self._leases.get(words[1], (0.0, ""))
            if time.time() < until:
                return f"VALUE {value}"
            answer = await self._passed_on(f"LEASE {words[1]}")
            if not answer.startswith("LEASED "):
                return answer
            _, until_text, value = answer.split(" ", 2)
            self._leases[words[1]] = (float(until_text), value)
            return f"VALUE {value}"
        return await self._passed_on(" ".join(words))

    async def _passed_on(self, line: str) -> str:
        connection = None
        is_sent = False
        try:
            async with asyncio.timeout(FORWARD_TIMEOUT_S):
                connection = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
                reader, writer = connection
                is_sent = True
                writer.write(f"{line}\n".encode())
                answer = (await reader.readline()).decode()
                if not answer.endswith("\n"):
                    raise ConnectionResetError("the home closed the connection")
        except OSError as error:
            if connection is not None:
                connection[1].close()
            return f"{'UNKNOWN' if is_sent else 'UNSENT'} {type(error).__name__}"
        self._idle.append(connection)
        return answer.rstrip("\n")


class Server:
    def __init__(self, node: str, doer: Home | Passer, members: dict[str, str]) -> None:
        self.node = node
        self.doer = doer
        self.members = members

    def status(self) -> str:
        role = "home" if isinstance(self.doer, Home) else "passer"
        values = len(self.doer.log.values) if isinstance(self.doer, Home) else 0
        return json.dumps(
            {
                "node": self.node,
                "role": role,
                "keys": values,
                "clock_ns": time.time_ns(),
                "members": self.members,
            }
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a line is answered by a line, in order."""
        with contextlib.suppress(OSError):
            while line := (await reader.readline()).decode().strip():
                answer = f"VALUE {self.status()}" if line == "STATUS" else await self.doer.do(line.split(" "))
                writer.write(f"{answer}\n".encode())
                await writer.drain()
        writer.close()


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def run() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True, type=Path)
    given = json.loads(parser.parse_args().config.read_text())
    node, members, lease_s = given["id"], given["members"], given["lease_ms"] / 1000
    home = min(members)
    doer: Home | Passer
    if home == node:
        doer = Home(Log(Path(given["data"]) / "store.log"), lease_s)
    else:
        doer = Passer(*address(members[home]), lease_s)
    server = Server(node, doer, members)
    listening = [await asyncio.start_server(server.serve, *address(given[port])) for port in ("client", "peer")]
    print(f"{node} serves, home is {home}", flush=True)
    await asyncio.gather(*(each.serve_forever() for each in listening))


if __name__ == "__main__":
    asyncio.run(run())
