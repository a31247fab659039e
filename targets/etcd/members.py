"""Who belongs to an etcd cluster, how a member is removed, and how the leader hands over, by etcd's own API.

Source: https://etcd.io/docs/v3.4/op-guide/runtime-configuration/.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from targets.core import NodeId
from targets.target import ChangeOutcome, Membership, Ports

BEHIND_ENTRIES = 200
"""A member that has applied so many entries less than its leader has lags far behind."""

KNOWN_WITHIN_S = 3.0
"""How long a removal that was not answered is looked after."""


async def ask(node: Ports, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the node's answer. Raises OSError, or ValueError for an answer that is no JSON."""
    async with aiohttp.ClientSession() as http:
        try:
            async with http.post(f"http://{node['client']}/v3/{path}", json=body) as response:
                return response.status, await response.json(content_type=None)
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error


async def listed(leader: Ports) -> list[dict[str, Any]]:
    """The members, as this node knows them. Raises OSError or ValueError."""
    status, answer = await ask(leader, "cluster/member/list", {})
    if status != 200:
        raise ConnectionError(f"no list of members: {answer.get('error', answer)}")
    members: list[dict[str, Any]] = answer.get("members", [])
    return members


def membership(
    leader: NodeId, members: list[dict[str, Any]], statuses: Mapping[NodeId, Mapping[str, Any]]
) -> Membership:
    """Who belongs to the cluster by the leader's list. A member that has never run has no name: then a change is under way."""
    voters = sorted(each["name"] for each in members if each.get("name") and not each.get("isLearner"))
    learners = sorted(each["name"] for each in members if each.get("name") and each.get("isLearner"))
    wanted = int(statuses[leader].get("raftIndex", 0)) - BEHIND_ENTRIES
    behind = [node for node in voters if node not in statuses or _applied(statuses[node]) < wanted]
    is_settled = all(each.get("name") for each in members)
    return Membership(leader, tuple(voters), tuple(learners), is_settled, tuple(behind))


def _applied(status: Mapping[str, Any]) -> int:
    return int(status.get("raftAppliedIndex", status.get("raftIndex", 0)))


async def transfer(node: NodeId, leader: Ports) -> ChangeOutcome:
    """The node leads; or why it does not. Raises OSError where nobody knows."""
    found = [each["ID"] for each in await listed(leader) if each.get("name") == node]
    if not found:
        return ChangeOutcome(False, f"{node} is no member")
    status, answer = await ask(leader, "maintenance/transfer-leadership", {"targetID": found[0]})
    return ChangeOutcome(status == 200, "" if status == 200 else str(answer.get("error", answer)))


async def remove(node: NodeId, leader: Ports) -> ChangeOutcome:
    """The node is no member any more; or why it still is one. Raises OSError where nobody knows."""
    found = [each["ID"] for each in await listed(leader) if each.get("name") == node]
    if not found:
        return ChangeOutcome(False, f"{node} is no member")
    deadline_s = time.monotonic() + KNOWN_WITHIN_S
    try:
        async with asyncio.timeout(KNOWN_WITHIN_S):
            status, answer = await ask(leader, "cluster/member/remove", {"ID": found[0]})
    except OSError as error:  # TimeoutError is one.
        why = str(error) or "no answer in time"
    else:
        if status == 200:
            return ChangeOutcome(True, "")
        why = str(answer.get("error", answer))
        if "timed out" not in why and "leader changed" not in why:
            return ChangeOutcome(False, why)
    while time.monotonic() < deadline_s:
        await asyncio.sleep(0.1)
        if all(each["ID"] != found[0] for each in await listed(leader)):
            return ChangeOutcome(True, "")
    raise TimeoutError(why)
