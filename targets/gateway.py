"""Carries the requests of people to the leader, so that `curl` may ask any node of a cluster that stands (`themis cluster up`).

A client of the harness is told who leads and asks there itself: a refusal is certain, and a request that was passed on is not
(docs/decisions/raft-redirect-not-forward.md). A person with curl wants the answer. A node that was started with THEMIS_GATEWAY=1
therefore passes on what its core refused as `not-leader`, for those who do not show the run's secret, and waits while there is no
leader. It passes a request on only to a node that has just answered, and asks again only where the request was certainly not
carried out: nothing is done twice. Where nobody can tell, the answer is `unknown`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Literal

import msgspec

from histories.json_text import MESSAGE_DEPTH_MAX, decoded
from targets.transport import Response

VARIABLE = "THEMIS_GATEWAY"
PATIENCE_S = 5.0
"""How long a request waits for a leader: several elections."""
PAUSE_S = 0.05

Ask = Callable[[str, bytes | None], Awaitable[Response | Exception]]
"""(peer, body) -> how the peer answered a request of the client route; with None as body, the question for its status."""

UNKNOWN = b'{"status":"unknown"}'


class Refusal(msgspec.Struct, frozen=True):
    """What of an answer says that another node is to be asked (targets.machines.machine.Answer); all else is left to the client."""

    status: Literal["not-leader"]
    leader: str | None = None


class Gateway:
    """peers: the other nodes. own: asks this node's core. ask: asks a peer."""

    def __init__(self, peers: Collection[str], own: Callable[[bytes], Awaitable[bytes]], ask: Ask) -> None:
        self._peers = peers
        self._own = own
        self._ask = ask
        self._refusal = msgspec.json.Decoder(Refusal)

    async def carry(self, body: bytes, answered: Awaitable[bytes]) -> bytes:
        """The answer to a request that this node's core was asked first; a refusal when no leader was found in time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + PATIENCE_S
        answer = await answered
        while (refusal := self._refused(answer)) is not None and loop.time() < deadline_s:
            leader = refusal.leader
            if leader is None or leader not in self._peers or not await self._is_there(leader):
                await asyncio.sleep(PAUSE_S)
                answer = await self._own(body)
                continue
            result = await self._ask(leader, body)
            if not isinstance(result, Response) or result.status != 200:
                return UNKNOWN
            answer = result.body
            if self._refused(answer) is not None:  # It leads no more: what this node knows by then is newer.
                await asyncio.sleep(PAUSE_S)
                answer = await self._own(body)
        return answer

    async def _is_there(self, peer: str) -> bool:
        result = await self._ask(peer, None)
        return isinstance(result, Response) and result.status == 200

    def _refused(self, answer: bytes) -> Refusal | None:
        try:
            return decoded(self._refusal.decode, answer, MESSAGE_DEPTH_MAX)
        except msgspec.DecodeError:  # Any other answer.
            return None
