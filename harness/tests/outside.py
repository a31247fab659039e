"""outside_server.py as a target: all that it takes to test a program that was not written for this project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets.session import Call, Outcome
from targets.target import Address, Bug, Connect, FaultModel, Place, Ports, ProgramDefaults

SERVER = "harness.tests.outside_server"
LEASE_MS = 300


class OutsideOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """lease_ms: how long a node may answer from memory, under the bug."""

    lease_ms: int = LEASE_MS


class OutsideClient:
    """Implements ProgramClient: one connection a call at a time, kept for the next call."""

    def __init__(self, nodes: Mapping[str, Ports]) -> None:
        self._nodes = nodes
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {node: [] for node in nodes}

    async def call(self, call: Call, node: str) -> Outcome:
        line = _line(call)
        try:
            connection = self._idle[node].pop() if self._idle[node] else await _open(self._nodes[node]["client"])
        except OSError as error:
            return Outcome("fail", call.value, ["not-sent", type(error).__name__])
        is_kept = False
        try:
            answer = await _asked(connection, line)
            is_kept = True
        finally:
            if is_kept:
                self._idle[node].append(connection)
            else:
                connection[1].close()
        return _outcome(call, answer)

    async def close(self) -> None:
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
            connections.clear()


class OutsideTarget(ProgramDefaults):
    """Implements targets.target.Program."""

    name = "outside"
    summary = "a key-value server outside the project: one node holds the data, the others pass on to it"
    interfaces = frozenset({"kv"})
    option_type: type[msgspec.Struct] = OutsideOptions
    bugs: Mapping[str, Bug] = {
        "clock-lease": Bug(
            "clock-lease",
            "reads are answered from memory under leases that trust all wall clocks to agree",
            "a stale read",
            ("clock",),
        )
    }
    fault_model = FaultModel(
        survives=frozenset({"partition", "kill", "pause", "restart-all", "clock", "slow", "loss", "rate"})
    )
    ports: Sequence[str] = ("client", "peer")
    installed: Sequence[str] = ("python3", "--version")
    install = "apt-get install python3"
    asks_libc_for_time = True
    lost_by_wipe: Sequence[str] = ("store.log",)
    """The table itself stays: a wiped home serves, and has forgotten what it acknowledged."""

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        return [place.python, "-m", SERVER, "--config", f"{place.config_dir}/server.json"]

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        assert isinstance(options, OutsideOptions)
        config = {
            "id": place.node,
            "client": str(place.listen["client"]),
            "peer": str(place.listen["peer"]),
            "data": place.data_dir,
            "members": {node: str(ports["peer"]) for node, ports in sorted(place.nodes.items())},
            "lease_ms": options.lease_ms if "clock-lease" in bugs else 0,
        }
        return {"server.json": json.dumps(config)}

    async def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> None:
        answer = await ask_once(places[min(places)].listen["client"], "CREATE")
        if answer != "OK":
            raise ValueError(f"the table could not be created: {answer}")

    async def status(self, node: Ports) -> Mapping[str, Any]:
        answer = await ask_once(node["client"], "STATUS")
        status: dict[str, Any] = json.loads(answer.removeprefix("VALUE "))
        return status

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        assert interface in self.interfaces
        return OutsideClient

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        return "linearizable"

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        return next((node for node, status in sorted(statuses.items()) if status["role"] == "home"), None)


async def _open(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address.host, address.port)


async def ask_once(address: Address, line: str) -> str:
    """The node's answer, over a connection of its own. Raises OSError or EOFError."""
    connection = await _open(address)
    try:
        return await _asked(connection, line)
    finally:
        connection[1].close()


async def _asked(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], line: str) -> str:
    reader, writer = connection
    writer.write(f"{line}\n".encode())
    answer = (await reader.readline()).decode()
    if not answer.endswith("\n"):
        raise EOFError("it closed the connection")
    return answer.strip()


def _line(call: Call) -> str:
    match call.f, call.value:
        case "read", _:
            return f"GET {call.key}"
        case "write", value:
            return f"SET {call.key} {json.dumps(value)}"
        case "cas", [old, new]:
            return f"CAS {call.key} {json.dumps(old)} {json.dumps(new)}"
    raise ValueError(f"it does read, write and cas, not {call}")


def _outcome(call: Call, answer: str) -> Outcome:
    word, _, rest = answer.partition(" ")
    match word:
        case "VALUE":
            return Outcome("ok", json.loads(rest))
        case "OK":
            return Outcome("ok", call.value)
        case "MISMATCH":
            return Outcome("fail", call.value, "cas-mismatch")
        case "UNSENT":
            return Outcome("fail", call.value, answer)
    return Outcome("fail" if call.f == "read" else "info", call.value, answer)


TARGET = OutsideTarget()
