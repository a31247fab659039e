"""etcd as a target: a key-value store by Raft, as Debian packages it.

What it promises (https://etcd.io/docs/v3.4/learning/api_guarantees/): every operation is strictly serializable, except reads that
ask to be serializable, which may be old, and watches. A lock by lease excludes nobody once the lease has run out: whoever uses
it must check the key's revision, a fencing token, at the resource (https://etcd.io/docs/v3.4/learning/why/, "locks").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import aiohttp
import msgspec

from targets.core import NodeId
from targets.etcd import members
from targets.etcd.client import COMMANDS, READS, EtcdClient, Reads
from targets.session import Call
from targets.target import ChangeOutcome, Connect, FaultModel, Membership, Place, Ports, ProgramDefaults, latest_leader

ELECTION_HEARTBEATS = 10
"""An election begins after so many heartbeats were missed, as etcd's guide to tuning says."""


class EtcdOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """reads: linearizable, or serializable: answered by the asked node alone, perhaps old. heartbeat_ms: of the leader.
    lease_ttl_s: of the lease of a lock; etcd grants none shorter than one and a half elections. snapshot_count: a node makes a
    snapshot, and compacts its log, after so many entries. snapshot_catchup: it keeps so many of them for members that are behind;
    one that is further behind is sent the snapshot. compaction_revisions: how many revisions a periodic compaction of the
    key space keeps (every five minutes); 0: there is none. compact_every_s: a client compacts all that is older than the current
    revision so often; 0: never.
    """

    reads: Reads = "linearizable"
    heartbeat_ms: Annotated[int, msgspec.Meta(ge=5, le=5000)] = 50
    lease_ttl_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 2
    snapshot_count: Annotated[int, msgspec.Meta(ge=10)] = 100_000
    snapshot_catchup: Annotated[int, msgspec.Meta(ge=1)] = 5000
    compaction_revisions: Annotated[int, msgspec.Meta(ge=0)] = 0
    compact_every_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


def _typed(options: msgspec.Struct) -> EtcdOptions:
    assert isinstance(options, EtcdOptions)
    return options


class Etcd(ProgramDefaults):
    """Implements targets.target.Program."""

    name = "etcd"
    summary = "etcd, a key-value store by Raft (the program, from Debian's etcd-server)"
    interfaces = frozenset(COMMANDS)
    option_type: type[msgspec.Struct] = EtcdOptions
    fault_model = FaultModel(
        survives=frozenset(
            {
                "partition",
                "kill",
                "pause",
                "restart-all",
                "slow",
                "loss",
                "rate",
                "disk/lose-unsynced",
                "membership",
                "transfer",
            }
        )
    )
    ports: Sequence[str] = ("client", "peer")
    installed: Sequence[str] = ("etcd", "--version")
    install = "apt-get install etcd-server"
    packages: Sequence[str] = ("etcd-server",)
    version = r"etcd Version: (\d+)\.(\d+)"
    version_min: Sequence[int] = (3, 4)
    asks_libc_for_time = False
    commands: Mapping[str, frozenset[str]] = COMMANDS
    reads = READS
    lost_by_wipe: Sequence[str] = ("member",)
    log_alarms: Sequence[str] = (
        r"^panic: (?!failed to find local ID )",
        r"^fatal error: ",
        r"\bFATAL\b.*",
        r"data corruption",
        r"found corrupted",
    )
    """How Go and etcd write that a node cannot go on; etcd's own check of its data says that it is corrupted. Left out is how 3.4
    may end when it learns that it was removed."""

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Linearizable, also under options by which etcd itself promises less: docs/systems.md says which."""
        return "linearizable"

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        """etcd with its configuration file. A node that lost its data joins as a new member first."""
        path = f"{place.config_dir}/etcd.json"
        if not place.is_rejoining:
            return ("etcd", "--config-file", path)
        others = [f"http://{ports['client']}" for ports in place.peers.values()]
        return (place.python, "-m", "targets.etcd.joining", path, place.data_dir, *others)

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """The configuration: the same list of members on every node."""
        chosen = _typed(options)
        members = [f"{node}=http://{ports['peer']}" for node, ports in sorted(place.nodes.items())]
        config: dict[str, Any] = {
            "name": place.node,
            "data-dir": place.data_dir,
            "listen-client-urls": f"http://{place.listen['client']}",
            "listen-peer-urls": f"http://{place.listen['peer']}",
            "advertise-client-urls": f"http://{place.advertised['client']}",
            "initial-advertise-peer-urls": f"http://{place.advertised['peer']}",
            "initial-cluster": ",".join(members),
            "initial-cluster-state": "new",
            "enable-grpc-gateway": True,
            "heartbeat-interval": chosen.heartbeat_ms,
            "election-timeout": ELECTION_HEARTBEATS * chosen.heartbeat_ms,
            "snapshot-count": chosen.snapshot_count,
            "SnapshotCatchUpEntries": chosen.snapshot_catchup,  # As 3.4 calls it in a file, and as 3.5 does.
            "experimental-snapshot-catchup-entries": chosen.snapshot_catchup,
        }
        if chosen.compaction_revisions:
            config |= {
                "auto-compaction-mode": "revision",
                "auto-compaction-retention": str(chosen.compaction_revisions),
            }
        return {"etcd.json": json.dumps(config)}

    async def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> None:
        """Every node answers before there is a leader: wait until each has answered a write."""
        client = EtcdClient({node: place.listen for node, place in places.items()}, "kv", "linearizable", 1)
        try:
            for node in sorted(places):
                written = False
                while not written:
                    await asyncio.sleep(0.05)
                    written = (await client.call(Call("write", "up", True), node)).type == "ok"
        finally:
            await client.close()

    async def status(self, node: Ports) -> Mapping[str, Any]:
        """What /v3/maintenance/status says, which needs no quorum, and the role."""
        async with aiohttp.ClientSession() as http:
            try:
                async with http.post(f"http://{node['client']}/v3/maintenance/status", json={}) as response:
                    status: dict[str, Any] = await response.json()
            except aiohttp.ClientError as error:
                raise ConnectionError(str(error)) from error
        if "header" not in status:
            raise ValueError(f"no status: {status}")
        is_leader = status.get("leader", "0") == status["header"]["member_id"]
        return {**status, "role": "leader" if is_leader else "follower", "term": int(status.get("raftTerm", 0))}

    async def members(self, nodes: Mapping[NodeId, Ports]) -> Membership | None:
        """By the list of the leader, which must answer."""
        answers = await asyncio.gather(*(self.status(ports) for ports in nodes.values()), return_exceptions=True)
        statuses = {
            node: answer for node, answer in zip(nodes, answers, strict=True) if not isinstance(answer, BaseException)
        }
        leader = self.primary(statuses)
        return members.membership(leader, await members.listed(nodes[leader]), statuses) if leader else None

    async def change_members(self, name: str, node: NodeId, leader: Ports) -> ChangeOutcome:
        """By etcd's API. The process of a removed member ends by itself."""
        if name == "transfer-leadership":
            return await members.transfer(node, leader)
        return await members.remove(node, leader)

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The leader of the highest term."""
        return latest_leader(statuses)

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        """A client by the JSON gateway."""
        chosen = _typed(options)
        return partial(
            EtcdClient,
            interface=interface,
            reads=chosen.reads,
            lease_ttl_s=chosen.lease_ttl_s,
            compact_every_s=chosen.compact_every_s,
        )


TARGET = Etcd()
