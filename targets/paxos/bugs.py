"""Planted bugs by name, off by default: they prove that the harness finds such bugs. Each changes one place of one role.

`for_single` are those of the single decree; Multi-Paxos has all.
"""

from __future__ import annotations

from targets.target import Bug

FORGET_PROMISE = "forget-promise"
FORGET_ACCEPTED = "forget-accepted"
OWN_VALUE_WINS = "own-value-wins"
HIGHEST_BY_ARRIVAL = "highest-by-arrival"
BALLOT_REUSED = "ballot-reused-after-restart"
MINORITY_QUORUM = "minority-quorum"
LEARN_FROM_ONE = "learn-from-one"
ACCEPT_BELOW_PROMISE = "accept-below-promise"
QUORUMS_THAT_MISS = "quorums-that-miss"
GAP_SKIPPED = "gap-skipped"
NO_OP_OVERWRITES = "no-op-overwrites"
LEASE_OVERLAP = "lease-overlap"

SINGLE = (
    Bug(
        FORGET_PROMISE,
        summary='A promise is kept in memory only (PMS §2.3, "an acceptor must remember this information even if it fails and '
        'then restarts").',
        anomaly="After a restart the acceptor promises and accepts below what it had promised: two values are chosen.",
        exposed_by=("kill", "restart-all", "late"),
    ),
    Bug(
        FORGET_ACCEPTED,
        summary="An accepted proposal is kept in memory only (PMS §2.3).",
        anomaly="After a restart nobody remembers what was chosen: another value is, and acknowledged writes are lost.",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        OWN_VALUE_WINS,
        summary="A proposer proposes its own value, whatever the promises report as accepted (PMS §2.2, P2c).",
        anomaly="A second value is chosen over the first.",
        exposed_by=("partition", "kill", "loss"),
    ),
    Bug(
        HIGHEST_BY_ARRIVAL,
        summary="A proposer takes the value that was reported last, and not the one of the highest ballot (PMS §2.2, P2c).",
        anomaly="A value that lost against the chosen one comes back and is chosen as well.",
        exposed_by=("partition", "loss", "kill"),
    ),
    Bug(
        BALLOT_REUSED,
        summary="The ballot that a node has drawn is not on disk: after a restart it proposes again under its last one (PMS §2.2, "
        "each proposal has a number of its own).",
        anomaly="Two values are proposed under one ballot, and both may be chosen.",
        exposed_by=("kill", "restart-all"),
    ),
    Bug(
        MINORITY_QUORUM,
        summary="A proposer takes a value for chosen when half of the acceptors, rounded down, have accepted it (PMS §2.2, "
        '"a majority of the acceptors").',
        anomaly="A value is learned that was never chosen, and another is chosen.",
        exposed_by=("partition", "kill"),
    ),
    Bug(
        LEARN_FROM_ONE,
        summary="An acceptor takes for chosen whatever it accepts itself (PMS §2.3, a learner needs a majority).",
        anomaly="A value is learned that was never chosen.",
        exposed_by=("partition", "loss"),
    ),
    Bug(
        ACCEPT_BELOW_PROMISE,
        summary="An acceptor accepts a proposal below a ballot that it has promised (PMS §2.2, P1a).",
        anomaly="A proposal that a later phase 1 had ruled out is chosen.",
        exposed_by=("late", "partition", "pause"),
    ),
    Bug(
        QUORUMS_THAT_MISS,
        summary="Phase 1 asks one acceptor too few, so that its quorum can miss one of phase 2 (Flexible Paxos, §3), and sizes "
        "that do not intersect are not refused.",
        anomaly="A proposer does not see what was chosen, and a second value is chosen.",
        exposed_by=("partition", "kill"),
    ),
)

MULTI = (
    *SINGLE,
    Bug(
        GAP_SKIPPED,
        summary="A learner goes on behind a slot of which it does not know what was chosen (PMS §3).",
        anomaly="A node carries commands out in another order than the others, or leaves one out: its state is another.",
        exposed_by=("loss", "partition", "late"),
    ),
    Bug(
        NO_OP_OVERWRITES,
        summary="A new leader fills every slot that it does not know to be decided with a no-op, also one whose value a promise "
        "reports (PMS §3).",
        anomaly="An acknowledged command is replaced by nothing: writes are lost.",
        exposed_by=("partition", "kill", "pause"),
    ),
    Bug(
        LEASE_OVERLAP,
        summary="A leader counts its lease from the answer and not from the question, and in full, without the drift bound (with "
        "reads=lease).",
        anomaly="It still answers reads when another leader has been elected: they are stale.",
        exposed_by=("clock", "partition", "late", "pause"),
    ),
)

SINGLE_BUGS = {bug.name: bug for bug in SINGLE}
MULTI_BUGS = {bug.name: bug for bug in MULTI}
