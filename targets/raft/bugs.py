"""Planted bugs by name, off by default: they prove that the harness finds such bugs. Each changes one place of the core.

A summary says what is wrong, and which rule of which paper it breaks.
"""

from __future__ import annotations

from targets.target import Bug

STALE_READ = "stale-read"
REPLY_BEFORE_COMMIT = "reply-before-commit"
VOLATILE_LOG = "volatile-log"
VOTE_TWICE = "vote-twice"
COMMIT_BY_COUNT = "commit-by-count"
STALE_APPEND_REPLY_COUNTED = "stale-append-reply-counted"
SNAPSHOT_LOSES_SUFFIX = "snapshot-loses-suffix"
VOTE_FOR_STALE_LOG = "vote-for-stale-log"
PERSIST_AFTER_SEND = "persist-after-send"
NO_FSYNC = "no-fsync"
TRUNCATE_COMMITTED = "truncate-committed"
IGNORE_TERM_IN_APPEND = "ignore-term-in-append"
APPLY_BEFORE_COMMIT = "apply-before-commit"
HEARTBEAT_COMMITS_UNMATCHED = "heartbeat-commits-unmatched"
READ_INDEX_WITHOUT_QUORUM = "read-index-without-quorum"
READ_BEFORE_OWN_TERM_COMMIT = "read-before-own-term-commit"
REUSE_INDEX_AFTER_RESTART = "reuse-index-after-restart"
LEASE_WITHOUT_DRIFT_BOUND = "lease-without-drift-bound"
MEMBERSHIP_TWO_AT_ONCE = "membership-two-at-once"
WIPED_VOTER_VOTES = "wiped-voter-votes"
RETRY_APPLIED_TWICE = "retry-applied-twice"
SNAPSHOT_DROPS_SESSION = "snapshot-drops-session"
TRANSFER_WITHOUT_CATCH_UP = "transfer-without-catch-up"

PLANTED = (
    Bug(
        STALE_READ,
        summary="Whichever node is asked answers a read from its own state, without asking who leads (Raft §8).",
        anomaly="A read returns a value that an acknowledged write had replaced before the read began.",
        exposed_by=("partition", "pause", "kill"),
    ),
    Bug(
        REPLY_BEFORE_COMMIT,
        summary="A command that is no read is answered when the leader has appended it, before a majority has (Raft §5.3), "
        "with the result that it would have if the log were committed as it stands.",
        anomaly="An acknowledged command is lost: the next leader never had it. Reads return what was before it, an element is "
        "dequeued twice, a lock has two owners.",
        exposed_by=("partition", "kill"),
    ),
    Bug(
        VOLATILE_LOG,
        summary="Term, vote and log are kept in memory only (Raft figure 2, persistent state).",
        anomaly="Acknowledged writes are lost; terms begin again from 1, so that one term has two leaders.",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        VOTE_TWICE,
        summary="A vote, and the term it was given in, is not on disk when it is sent (Raft figure 2, votedFor).",
        anomaly="A restarted node votes again in one term: it gets two leaders, and acknowledged writes are lost.",
        exposed_by=("kill", "restart-all", "partition"),
    ),
    Bug(
        COMMIT_BY_COUNT,
        summary="A leader opens its term without a no-op, and commits an entry of an earlier term once a majority "
        "holds it (Raft §5.4.2, figure 8).",
        anomaly="A committed, acknowledged write is overwritten by a later leader that never had it.",
        exposed_by=("partition", "kill"),
    ),
    Bug(
        STALE_APPEND_REPLY_COUNTED,
        summary="Who refuses an AppendEntries of an old term repeats its sequence beside the new term. A sender that leads in "
        "that term meanwhile takes the refusal for an answer to its own messages (thesis §6.4, step 3).",
        anomaly="A round of heartbeats counts as answered that never reached a majority: a read returns a value that an "
        "acknowledged write had replaced.",
        exposed_by=("late", "partition"),
    ),
    Bug(
        SNAPSHOT_LOSES_SUFFIX,
        summary="A follower installs every snapshot that it is sent, also a late one, and drops the log behind it (Raft figure 13, "
        "rule 6: retain what follows the snapshot's last entry).",
        anomaly="A follower loses entries that it had acknowledged. Leaders that count on it lose committed writes.",
        exposed_by=("late", "duplicate", "reorder", "loss", "kill"),
    ),
    Bug(
        VOTE_FOR_STALE_LOG,
        summary="A voter does not compare logs: whoever asks first gets the vote of the term (Raft §5.4.1: a candidate's log must "
        "be at least as up-to-date).",
        anomaly="A leader lacks committed entries (leader-completeness), and overwrites them: acknowledged writes are lost.",
        exposed_by=("partition", "kill", "pause"),
    ),
    Bug(
        PERSIST_AFTER_SEND,
        summary="A follower acknowledges entries, and writes them to disk behind the message (Raft figure 2: updated on stable "
        "storage before responding to RPCs).",
        anomaly="A crash forgets entries that were counted for commitment: they are missing on a majority of the disks "
        "(durability), and acknowledged writes are lost.",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        NO_FSYNC,
        summary="Nobody waits for the disk: terms, votes and entries count at once, and are written when the next timer fires, as "
        "by an operating system that is never told to (Raft figure 2: updated on stable storage before responding to RPCs).",
        anomaly="A crash forgets votes, terms and committed entries (persistent-state, kept-commits): acknowledged writes are "
        "lost.",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        TRUNCATE_COMMITTED,
        summary="A follower cuts its log off behind the entries of every message, also where they conflict with nothing (Raft "
        "figure 2, AppendEntries 3: only an existing entry that conflicts is deleted).",
        anomaly="A late or repeated message shortens a log by entries that were acknowledged, and may be committed (kept-commits).",
        exposed_by=("late", "reorder", "duplicate", "loss", "partition"),
    ),
    Bug(
        IGNORE_TERM_IN_APPEND,
        summary="A follower stores the entries of every leader, also of one whose term is over (Raft figure 2, AppendEntries 1: "
        "reply false if term < currentTerm).",
        anomaly="A deposed leader overwrites what its successor replicated: committed entries are cut off or differ between nodes "
        "(kept-commits, log-matching).",
        exposed_by=("partition", "pause", "late"),
    ),
    Bug(
        APPLY_BEFORE_COMMIT,
        summary="A follower applies an entry when it stores it (Raft §5.3: an entry is applied when it is committed).",
        anomaly="Entries that a later leader replaces stay applied: states differ (state-machine-safety), and reads return what "
        "was never committed.",
        exposed_by=("partition", "kill", "pause"),
    ),
    Bug(
        HEARTBEAT_COMMITS_UNMATCHED,
        summary="A follower commits up to the leader's commit index as far as its log goes, not as far as the message shows that "
        "the logs agree (Raft figure 2, AppendEntries 5: the index of the last new entry).",
        anomaly="A follower commits and applies old entries of its own that no majority has (state-machine-safety).",
        exposed_by=("partition", "kill", "pause", "loss", "late"),
    ),
    Bug(
        READ_INDEX_WITHOUT_QUORUM,
        summary="A leader answers a read without asking whether it still leads (thesis §6.4, step 3: a round of heartbeats).",
        anomaly="A leader that was replaced without knowing it returns a value that an acknowledged write had replaced.",
        exposed_by=("partition", "pause"),
    ),
    Bug(
        READ_BEFORE_OWN_TERM_COMMIT,
        summary="A new leader answers reads before an entry of its own term is committed (thesis §6.4, step 1).",
        anomaly="It does not know yet what its predecessor had committed: a read misses an acknowledged write.",
        exposed_by=("kill", "partition", "pause"),
    ),
    Bug(
        REUSE_INDEX_AFTER_RESTART,
        summary="A node that restarts takes the last entry of its log for torn, and gives its index away again (Raft figure 2, "
        "persistent state: log[]).",
        anomaly="An entry that the node had acknowledged, and knew to be committed, is gone after a restart (kept-commits, "
        "durability).",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        LEASE_WITHOUT_DRIFT_BOUND,
        summary="With reads=lease, a leader takes its lease to last for the whole of the least election time-out on its own clock, "
        "as if no clock ran faster or slower than another (thesis §6.4.1: divided by the bound on clock drift).",
        anomaly="A leader whose clock is slow answers reads from a lease after its successor was elected: a read returns a value "
        "that an acknowledged write had replaced.",
        exposed_by=("clock/drift", "partition", "pause"),
    ),
    Bug(
        MEMBERSHIP_TWO_AT_ONCE,
        summary="A leader begins a change of the membership while the one before it is not committed (thesis §4.1: one server at a "
        "time, since majorities of configurations that differ by two need not meet).",
        anomaly="Two leaders commit with majorities that share no member: what one of them had acknowledged is lost "
        "(leader-completeness, state-machine-safety).",
        exposed_by=("membership", "partition", "pause", "slow"),
    ),
    Bug(
        WIPED_VOTER_VOTES,
        summary="A node whose data was lost goes on as the member that it was, and votes (Raft figure 2, persistent state; thesis "
        "§11.7.2: a server that lost its disk must come back as a new one).",
        anomaly="It elects a leader that lacks what it had helped to commit, or votes twice in one term (leader-completeness, "
        "persistent-state, durability).",
        exposed_by=("membership:replace",),
    ),
    Bug(
        RETRY_APPLIED_TWICE,
        summary="With sessions=true, the state machine does not look whether it has carried a command out already (thesis §6.3).",
        anomaly="A command that a client sent again, because it had no answer, takes effect twice: a counter is too high, an "
        "element is enqueued twice, a cas that succeeded is told to have failed.",
        exposed_by=("kill", "partition", "pause"),
    ),
    Bug(
        SNAPSHOT_DROPS_SESSION,
        summary="With sessions=true, a snapshot names the sessions, and holds neither the last number of each nor how that command "
        "was answered (thesis §6.3: the sessions are part of the state, and of its snapshots).",
        anomaly="Who starts from a snapshot carries a command out that it had carried out before it: replicas differ "
        "(state-machine-safety), and a command takes effect twice.",
        exposed_by=("kill", "partition", "loss"),
    ),
    Bug(
        TRANSFER_WITHOUT_CATCH_UP,
        summary="A leader that is to hand over asks the heir to stand at once, whatever it lacks of the log (thesis §3.10, step 2: "
        "the prior leader first brings it up to date).",
        anomaly="The heir loses the election, or wins it and does away with what clients were waiting for: an outage where there "
        "need be none (transfer-catches-up). Nothing acknowledged is lost, since voters refuse who lacks it.",
        exposed_by=("transfer",),
    ),
)
