"""Planted bugs by name, off by default: they prove that the harness finds such bugs. Each changes one or two places in core.py."""

from __future__ import annotations

import msgspec

STALE_READ = "stale-read"
REPLY_BEFORE_COMMIT = "reply-before-commit"
VOLATILE_LOG = "volatile-log"
VOTE_TWICE = "vote-twice"
COMMIT_BY_COUNT = "commit-by-count"
STALE_APPEND_REPLY_COUNTED = "stale-append-reply-counted"
SNAPSHOT_LOSES_SUFFIX = "snapshot-loses-suffix"


class Planted(msgspec.Struct, frozen=True):
    """The fields of targets.target.Bug, which the target makes of it: a core does not import what describes targets."""

    name: str
    summary: str
    anomaly: str
    exposed_by: tuple[str, ...]


PLANTED = (
    Planted(
        STALE_READ,
        summary="Whichever node is asked answers a read from its own state, without asking who leads (Raft §8).",
        anomaly="A read returns a value that an acknowledged write had replaced before the read began.",
        exposed_by=("partition", "pause", "kill"),
    ),
    Planted(
        REPLY_BEFORE_COMMIT,
        summary="A command that is no read is answered when the leader has appended it, before a majority has (Raft §5.3), "
        "with the result that it would have if the log were committed as it stands.",
        anomaly="An acknowledged command is lost: the next leader never had it. Reads return what was before it, an element is "
        "dequeued twice, a lock has two owners.",
        exposed_by=("partition", "kill"),
    ),
    Planted(
        VOLATILE_LOG,
        summary="Term, vote and log are kept in memory only (Raft figure 2, persistent state).",
        anomaly="Acknowledged writes are lost; terms begin again from 1, so that one term has two leaders.",
        exposed_by=("kill", "restart-all"),
    ),
    Planted(
        VOTE_TWICE,
        summary="A vote, and the term it was given in, is not on disk when it is sent (Raft figure 2, votedFor).",
        anomaly="A restarted node votes again in one term: it gets two leaders, and acknowledged writes are lost.",
        exposed_by=("kill", "restart-all", "partition"),
    ),
    Planted(
        COMMIT_BY_COUNT,
        summary="A leader opens its term without a no-op, and commits an entry of an earlier term once a majority "
        "holds it (Raft §5.4.2, figure 8).",
        anomaly="A committed, acknowledged write is overwritten by a later leader that never had it.",
        exposed_by=("partition", "kill"),
    ),
    Planted(
        STALE_APPEND_REPLY_COUNTED,
        summary="Who refuses an AppendEntries of an old term repeats its sequence beside the new term. A sender that leads in "
        "that term meanwhile takes the refusal for an answer to its own messages (thesis §6.4, step 3).",
        anomaly="A round of heartbeats counts as answered that never reached a majority: a read returns a value that an "
        "acknowledged write had replaced.",
        exposed_by=("late", "partition"),
    ),
    Planted(
        SNAPSHOT_LOSES_SUFFIX,
        summary="A follower installs every snapshot that it is sent, also a late one, and drops the log behind it (Raft figure 13, "
        "rule 6: retain what follows the snapshot's last entry).",
        anomaly="A follower loses entries that it had acknowledged. Leaders that count on it lose committed writes.",
        exposed_by=("late", "duplicate", "reorder", "loss", "kill"),
    ),
)
