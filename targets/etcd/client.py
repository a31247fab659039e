"""Calls to etcd by its JSON gateway, over aiohttp.

An answer that is no success ends a read as `fail` and everything else as `info`: etcd answers "no leader" and "timed out" also
where the proposal is still under way. Only a refused connection, and an answer that says the request was never proposed, are
`fail`.

Source: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ and https://etcd.io/docs/v3.4/learning/api/.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp

from targets.session import Call, Outcome
from targets.target import Ports

Reads = Literal["linearizable", "serializable"]

NEVER_PROPOSED = ("etcdserver: too many requests", "etcdserver: request is too large", "etcdserver: not capable")
"""Errors by which a server says that it has not begun with the request (etcd's rpctypes)."""

_FREE = "0"
"""The create_revision of a key that is not there."""


def text(value: object) -> str:
    """As etcd's JSON has keys and values."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def plain_key(key: str) -> str:
    """A key as etcd's JSON has it, which sorts as the text does."""
    return base64.b64encode(key.encode()).decode()


def value_of(pair: Mapping[str, str]) -> Any:
    """The value of a pair in an answer."""
    return json.loads(base64.b64decode(pair["value"]))


class Refused(Exception):
    """etcd answered with an error. is_certain: the request was never proposed."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.is_certain = words.startswith(NEVER_PROPOSED)


class EtcdClient:
    """Implements ProgramClient, for one of the interfaces kv, set and lock. Belongs to one event loop.

    reads: serializable ones are answered from the asked node's own state, and may be old. lease_ttl_s: of a lock's lease. The
    client keeps a lease alive, by the node that granted it, until the lock is released: it stands for a process beside that node.
    compact_every_s: so often the key space is compacted, by one node after another; 0: never.
    """

    def __init__(
        self,
        nodes: Mapping[str, Ports],
        interface: str,
        reads: Reads,
        lease_ttl_s: int,
        compact_every_s: float = 0.0,
    ) -> None:
        self._urls = {node: f"http://{ports['client']}/v3" for node, ports in nodes.items()}
        self._interface = interface
        self._is_serializable = reads == "serializable"
        self._lease_ttl_s = lease_ttl_s
        self._keepers: dict[tuple[Any, Any], asyncio.Task[None]] = {}
        """By key and owner: what keeps the lease of a lock alive."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._compacting = asyncio.create_task(self._compact(compact_every_s)) if compact_every_s else None

    async def call(self, call: Call, node: str) -> Outcome:
        """Put the call to this node; see ProgramClient."""
        try:
            match self._interface, call.f:
                case "kv", "read":
                    pairs = (await self._range(node, self._key(call))).get("kvs", ())
                    return Outcome("ok", value_of(pairs[0]) if pairs else None)
                case "kv", "write":
                    await self._ask(node, "kv/put", {"key": self._key(call), "value": text(call.value)})
                    return Outcome("ok", call.value)
                case "kv", "cas":
                    return await self._cas(call, node)
                case "set", _:
                    return await self._set(call, node)
                case "lock", "acquire":
                    return await self._acquire(call, node)
                case "lock", "release":
                    return await self._release(call, node)
        except aiohttp.ClientConnectorError as error:
            return Outcome("fail", call.value, ["not-sent", str(error.os_error)])
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        except Refused as refused:
            is_certain = refused.is_certain or call.f in READS
            return Outcome("fail" if is_certain else "info", call.value, str(refused))
        raise ValueError(f"the interface {self._interface} of etcd has no {call.f}")

    async def close(self) -> None:
        """No connection is left."""
        tasks = [*self._keepers.values(), *([self._compacting] if self._compacting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close()

    def _key(self, call: Call) -> str:
        return plain_key(f"{self._interface}/{call.key}")

    async def _ask(self, node: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the node. Raises Refused, or aiohttp.ClientError."""
        async with self._http.post(f"{self._urls[node]}/{path}", json=body) as response:
            raw = await response.read()
        try:
            answer = json.loads(raw)
        except ValueError:
            raise Refused(f"status {response.status}: {raw[:200]!r}") from None
        if response.status != 200:
            raise Refused(str(answer.get("error") or answer))
        found: dict[str, Any] = answer
        return found

    async def _range(self, node: str, key: str, **more: Any) -> dict[str, Any]:
        return await self._ask(node, "kv/range", {"key": key, "serializable": self._is_serializable, **more})

    async def _txn(self, node: str, compare: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask(node, "kv/txn", {"compare": [compare], "success": [then]})

    async def _cas(self, call: Call, node: str) -> Outcome:
        old, new = call.value
        key = self._key(call)
        compare = {"key": key, "result": "EQUAL", "target": "VALUE", "value": text(old)}
        if old is None:
            compare = {"key": key, "result": "EQUAL", "target": "CREATE", "create_revision": _FREE}
        answer = await self._txn(node, compare, {"request_put": {"key": key, "value": text(new)}})
        if not answer.get("succeeded"):
            return Outcome("fail", call.value, "cas-mismatch", is_refused=True)
        return Outcome("ok", call.value)

    async def _set(self, call: Call, node: str) -> Outcome:
        """Every element is a key of its own below the set's."""
        of_set = f"set/{call.key}/"
        element = plain_key(of_set + json.dumps(call.value))
        match call.f:
            case "add":
                await self._ask(node, "kv/put", {"key": element, "value": text(call.value)})
                return Outcome("ok", call.value)
            case "remove":
                await self._ask(node, "kv/deleterange", {"key": element})
                return Outcome("ok", call.value)
            case "contains":
                answer = await self._range(node, element, count_only=True)
                return Outcome("ok", answer.get("count", "0") != "0")
            case "read":
                end = of_set[:-1] + chr(ord("/") + 1)
                answer = await self._range(node, plain_key(of_set), range_end=plain_key(end))
                return Outcome("ok", [value_of(pair) for pair in answer.get("kvs", ())])
        raise ValueError(f"a set has no {call.f}")

    async def _acquire(self, call: Call, node: str) -> Outcome:
        """The lock's key exists while it is held, and goes with the lease. The token is the revision that made the key."""
        lease = (await self._ask(node, "lease/grant", {"TTL": self._lease_ttl_s}))["ID"]
        keeper = asyncio.create_task(self._keep_alive(node, lease))
        is_held = False
        try:
            key = self._key(call)
            compare = {"key": key, "result": "EQUAL", "target": "CREATE", "create_revision": _FREE}
            put = {"request_put": {"key": key, "value": text(call.value), "lease": lease}}
            answer = await self._txn(node, compare, put)
            is_held = bool(answer.get("succeeded"))
        finally:
            if is_held:
                self._keepers[call.key, call.value] = keeper
            else:
                keeper.cancel()
        if not is_held:
            return Outcome("fail", call.value, "held", is_refused=True)
        return Outcome("ok", int(answer["header"]["revision"]))

    async def _release(self, call: Call, node: str) -> Outcome:
        key = self._key(call)
        compare = {"key": key, "result": "EQUAL", "target": "VALUE", "value": text(call.value)}
        answer = await self._txn(node, compare, {"request_delete_range": {"key": key}})
        if keeper := self._keepers.pop((call.key, call.value), None):
            keeper.cancel()
        if not answer.get("succeeded"):
            return Outcome("fail", call.value, "not-held", is_refused=True)
        return Outcome("ok", call.value)

    async def _compact(self, every_s: float) -> None:
        """Drop all that is older than the revision that a node has, until cancelled; a node that does not answer in time is passed
        over."""
        for node in itertools.cycle(sorted(self._urls)):
            await asyncio.sleep(every_s)
            with contextlib.suppress(aiohttp.ClientError, Refused, TimeoutError):
                async with asyncio.timeout(every_s):
                    found = await self._ask(node, "kv/range", {"key": plain_key("none"), "count_only": True})
                    await self._ask(node, "kv/compaction", {"revision": found["header"]["revision"], "physical": True})

    async def _keep_alive(self, node: str, lease: str) -> None:
        """Refresh the lease at a third of its time, as etcd's own client does, until cancelled; an answer that does not come is
        not missed before the lease is."""
        while True:
            await asyncio.sleep(self._lease_ttl_s / 3)
            with contextlib.suppress(aiohttp.ClientError, Refused, TimeoutError):
                async with asyncio.timeout(self._lease_ttl_s / 3):
                    await self._ask(node, "lease/keepalive", {"ID": lease})


COMMANDS = {
    "kv": frozenset({"read", "write", "cas"}),
    "set": frozenset({"add", "remove", "contains", "read"}),
    "lock": frozenset({"acquire", "release"}),
}
"""The ops of each interface."""

READS = frozenset({"read", "contains"})
"""The ops that change nothing."""
