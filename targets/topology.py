"""Which node plays which role, and which part of the keys it holds. Faults name roles, and sessions route by shards.

A plain cluster, where all nodes are alike, is the empty topology.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from targets.core import NodeId


class Topology(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """The nodes of one run by role and by shard; a node may have neither.

    role_by_node: such as {"n1": "coordinator"}. shard_by_node: such as {"n2": "s1", "n3": "s1"}; each shard holds some of the
    keys, on all of its nodes.
    Raises ValueError for an empty name.
    """

    role_by_node: Mapping[NodeId, str] = {}
    shard_by_node: Mapping[NodeId, str] = {}

    def __post_init__(self) -> None:
        for what, names in (("role", self.role_by_node), ("shard", self.shard_by_node)):
            for node, name in names.items():
                if not node or not name:
                    raise ValueError(f"topology: the {what} {name!r} of node {node!r} has an empty name")

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Every role that a node has, sorted."""
        return tuple(sorted(set(self.role_by_node.values())))

    @cached_property
    def shards(self) -> tuple[str, ...]:
        """Every shard that a node holds, sorted."""
        return tuple(sorted(set(self.shard_by_node.values())))

    def nodes_of_role(self, role: str) -> tuple[NodeId, ...]:
        """The nodes with this role, sorted; empty when no node has it."""
        return tuple(sorted(node for node, has in self.role_by_node.items() if has == role))

    def nodes_of_shard(self, shard: str) -> tuple[NodeId, ...]:
        """The nodes that hold this shard, sorted; empty when no node does."""
        return tuple(sorted(node for node, has in self.shard_by_node.items() if has == shard))

    def shard_of(self, key: Any) -> str | None:
        """The shard that holds `key`, which is JSON-like; None in a cluster without shards.

        It depends on the key and the names of the shards alone: every process and every machine gives the same answer.
        """
        shards = self.shards
        if not shards:
            return None
        return shards[zlib.crc32(msgspec.json.encode(key, order="sorted")) % len(shards)]


PLAIN = Topology()
"""All nodes are alike."""
