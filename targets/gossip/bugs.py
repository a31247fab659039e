"""Planted bugs by name, off by default: they prove that the harness finds such bugs. Each changes one or two places."""

from __future__ import annotations

from targets.target import Bug

LWW_WITHOUT_TIE_BREAK = "lww-without-tie-break"
LWW_BY_WALL_CLOCK = "lww-by-wall-clock"
LOST_TOMBSTONE = "lost-tombstone"
TOMBSTONE_COLLECTED_EARLY = "tombstone-collected-early"
COUNTER_MERGED_BY_SUM = "counter-merged-by-sum"
DIGEST_SKIPS_RANGES = "digest-skips-ranges"
DELIVERED_BEFORE_CAUSES = "delivered-before-causes"
CONTEXT_DROPPED_ON_FAILOVER = "context-dropped-on-failover"
OWN_WRITE_HIDDEN = "own-write-hidden"
ACKNOWLEDGED_BEFORE_DURABLE = "acknowledged-before-durable"
NODE_NEVER_REACHED = "node-never-reached"
HINT_TO_WRONG_NODE = "hint-to-wrong-node"
READ_REPAIR_OLDER = "read-repair-older"
SLOPPY_COUNTED_AS_STRICT = "sloppy-counted-as-strict"

PLANTED = (
    Bug(
        LWW_WITHOUT_TIE_BREAK,
        summary="A register's stamp is the wall clock in whole seconds, and of two equal stamps each node keeps its own.",
        anomaly="Nodes answer differently for ever after concurrent writes.",
        exposed_by=("partition",),
    ),
    Bug(
        LWW_BY_WALL_CLOCK,
        summary="A register's stamp is the wall clock, and not later than what the node has seen.",
        anomaly="An acknowledged write is lost to one that its client had read before.",
        exposed_by=("clock",),
    ),
    Bug(
        LOST_TOMBSTONE,
        summary="A removal forgets the element, and leaves no tombstone that would tell the others.",
        anomaly="An element whose removal was acknowledged is still there in the end.",
        exposed_by=("partition",),
    ),
    Bug(
        TOMBSTONE_COLLECTED_EARLY,
        summary="Tombstones are collected at the next round, before all nodes have them.",
        anomaly="An element whose removal was acknowledged is still there in the end.",
        exposed_by=("partition", "loss", "kill"),
    ),
    Bug(
        COUNTER_MERGED_BY_SUM,
        summary="Joining a fresh update of a counter adds its node's count up, where the greater of the two is right.",
        anomaly="A counter exceeds what was added to it.",
        exposed_by=("partition", "duplicate"),
    ),
    Bug(
        DIGEST_SKIPS_RANGES,
        summary="The digests of half of the ranges are always equal, so that anti-entropy never looks there.",
        anomaly="Nodes that missed an update of such a key, because its rumor was lost, never get it.",
        exposed_by=("partition", "loss", "kill"),
    ),
    Bug(
        DELIVERED_BEFORE_CAUSES,
        summary="Mode causal shows an update when it arrives, and does not wait for its causes.",
        anomaly="A client that reads an effect misses its cause.",
        exposed_by=("loss", "slow", "partition"),
    ),
    Bug(
        CONTEXT_DROPPED_ON_FAILOVER,
        summary="A node ignores what a client has seen when the client comes from another node.",
        anomaly="After its node was killed, a client does not see its own writes, or reads older values than before.",
        exposed_by=("kill", "partition"),
    ),
    Bug(
        OWN_WRITE_HIDDEN,
        summary="What a node hears from a peer that it had suspected takes the place of its own state, and is not joined with it.",
        anomaly="Acknowledged writes that were taken during a partition are lost when it heals.",
        exposed_by=("partition",),
    ),
    Bug(
        ACKNOWLEDGED_BEFORE_DURABLE,
        summary="The answer to an update leaves before the update is on disk.",
        anomaly="An acknowledged update is lost when its node is killed.",
        exposed_by=("kill", "disk/slow"),
    ),
    Bug(
        NODE_NEVER_REACHED,
        summary="No node gossips with the last one, and that one with nobody.",
        anomaly="One node never agrees with the others.",
        exposed_by=(),
    ),
    Bug(
        HINT_TO_WRONG_NODE,
        summary="Mode quorum hands a hint to the node behind its owner, and forgets it.",
        anomaly="A write that only stand-ins had acknowledged is in no later read.",
        exposed_by=("partition", "kill"),
    ),
    Bug(
        READ_REPAIR_OLDER,
        summary="Read repair of mode quorum writes the oldest answer to all nodes, as a new update.",
        anomaly="An acknowledged write is lost to one that its client had read before.",
        exposed_by=("partition", "loss", "slow"),
    ),
    Bug(
        SLOPPY_COUNTED_AS_STRICT,
        summary="Mode quorum with strict quorums counts nodes that stand in for homes.",
        anomaly="A client's read does not see its own write, although R + W > N.",
        exposed_by=("partition", "kill", "pause"),
    ),
)
