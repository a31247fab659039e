"""Planted bugs by name, off by default: they prove that the harness finds such bugs. Each changes one place of one role."""

from __future__ import annotations

from targets.target import Bug

WITHOUT_ALL_VOTES = "commit-without-all-votes"
VOTE_NOT_DURABLE = "vote-not-durable"
DECISION_TOLD_FIRST = "decision-told-before-durable"
PRESUMED_COMMIT = "presumed-commit"
LOCKS_RELEASED_AT_VOTE = "locks-released-at-vote"
READ_LOCKS_RELEASED_AT_VOTE = "read-locks-released-at-vote"
LOCKS_LOST = "locks-lost-after-restart"
LOCKS_KEPT_AFTER_ABORT = "locks-kept-after-abort"
PARTICIPANT_FORGOTTEN = "participant-forgotten"
COMMIT_AFTER_ABORT = "commit-after-abort"
PREPARED_READ = "prepared-read"
DIRTY_READ = "dirty-read"
SNAPSHOT_TAKEN_LATE = "snapshot-taken-late"
FIRST_COMMITTER_IGNORED = "first-committer-ignored"
COMMIT_APPLIED_TWICE = "commit-applied-twice"
NUMBERS_REUSED = "numbers-reused-after-restart"
VOTE_TOLD_FIRST = "vote-told-before-replicated"
DECISION_TOLD_BY_ONE = "decision-told-before-replicated"
OF_GROUPS = frozenset({VOTE_TOLD_FIRST, DECISION_TOLD_BY_ONE})
"""Those that only shards which are Raft groups have."""

_ALL = (
    Bug(
        WITHOUT_ALL_VOTES,
        summary="The coordinator commits when one vote is still missing.",
        anomaly="A commit that a participant never voted for: it lacks the part of that shard, or contradicts its no.",
        exposed_by=("loss", "kill", "partition"),
    ),
    Bug(
        VOTE_NOT_DURABLE,
        summary="A participant's yes, with what it promised to write, is in its memory only.",
        anomaly="After a restart it knows nothing of the transaction: part of an acknowledged commit is lost.",
        exposed_by=("kill",),
    ),
    Bug(
        DECISION_TOLD_FIRST,
        summary="The coordinator tells of a commit before the decision is on its disk.",
        anomaly="After a crash between the two it presumes that the transaction aborted, which some have committed.",
        exposed_by=("kill", "disk/slow"),
    ),
    Bug(
        PRESUMED_COMMIT,
        summary="A coordinator that has restarted says of what it does not know that it committed.",
        anomaly="One participant commits what another has aborted, or never prepared.",
        exposed_by=("kill",),
    ),
    Bug(
        LOCKS_RELEASED_AT_VOTE,
        summary="A participant releases all locks when it votes, before the decision (two-phase locking is not strict).",
        anomaly="Lost updates: two transactions read the same value, and both write.",
    ),
    Bug(
        READ_LOCKS_RELEASED_AT_VOTE,
        summary="A participant releases the locks of what it read when it votes, while other shards have not locked theirs yet.",
        anomaly="Write skew (G2-item): two transactions each miss what the other writes.",
    ),
    Bug(
        LOCKS_LOST,
        summary="What a participant is in doubt about has no locks any more after a restart.",
        anomaly="Others read and overwrite what then commits: lost updates, reads of the past.",
        exposed_by=("kill",),
    ),
    Bug(
        LOCKS_KEPT_AFTER_ABORT,
        summary="A participant does not release the locks of a transaction that it had voted for and that aborted.",
        anomaly="Locks are held for ever, also when all nodes are up and connected.",
        exposed_by=("loss", "kill", "partition"),
    ),
    Bug(
        PARTICIPANT_FORGOTTEN,
        summary="The coordinator tells of a commit to all participants but the last.",
        anomaly="The last one asks when the coordinator has forgotten the commit, and aborts what the others committed.",
    ),
    Bug(
        COMMIT_AFTER_ABORT,
        summary="A participant in doubt aborts alone after a time-out, and commits when the decision comes late.",
        anomaly="It has decided twice, and others have read and written what it had unlocked.",
        exposed_by=("partition", "kill", "loss"),
    ),
    Bug(
        PREPARED_READ,
        summary="Reads take no locks, and see what is prepared and not yet committed.",
        anomaly="A read sees one shard before and another behind a transaction, or what then aborts (G1a).",
    ),
    Bug(
        DIRTY_READ,
        summary="A participant's writes go into its store at the vote, and an abort leaves them there.",
        anomaly="Others read and overwrite the writes of aborted transactions (G1a, dirty update).",
        exposed_by=("loss", "kill", "partition"),
    ),
    Bug(
        SNAPSHOT_TAKEN_LATE,
        summary="isolation=snapshot: each shard reads what is newest when it is asked, and not as of the transaction's snapshot.",
        anomaly="Read skew (G-single): a transaction sees another in one shard and not in the other.",
    ),
    Bug(
        FIRST_COMMITTER_IGNORED,
        summary="isolation=snapshot: nobody looks whether another wrote the key after the snapshot.",
        anomaly="Lost updates.",
    ),
    Bug(
        COMMIT_APPLIED_TWICE,
        summary="A commit that comes once more is carried out once more.",
        anomaly="What others wrote in between is overwritten with an older value.",
        exposed_by=("loss", "duplicate", "late", "kill"),
    ),
    Bug(
        NUMBERS_REUSED,
        summary="A restarted coordinator does not skip the numbers that it may have used.",
        anomaly="Participants take a new transaction for one that they know: its writes are lost.",
        exposed_by=("kill",),
    ),
    Bug(
        VOTE_TOLD_FIRST,
        summary="shard_replicas: the leader of a group votes before a majority of the group has the entry.",
        anomaly="The next leader does not know what the group has promised: part of an acknowledged commit is lost.",
        exposed_by=("kill", "partition", "pause"),
    ),
    Bug(
        DECISION_TOLD_BY_ONE,
        summary="shard_replicas: the leader of a group tells of a commit before a majority of the group has the entry.",
        anomaly="The next leader presumes that the transaction aborted, which some have committed.",
        exposed_by=("kill", "partition", "pause"),
    ),
)

BUGS = {bug.name: bug for bug in _ALL}
