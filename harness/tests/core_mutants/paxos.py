"""Mistakes in Multi-Paxos and in the single decree. None of them removes or moves a Persist."""

from __future__ import annotations

from harness.tests.core_mutants.mutant import CoreMutant

CORE = "targets/paxos/multi/core.py"
ACCEPTOR = "targets/paxos/multi/acceptor.py"
PROPOSER = "targets/paxos/multi/proposer.py"
LEADERSHIP = "targets/paxos/multi/leadership.py"
LEARNER = "targets/paxos/multi/learner.py"
LEASES = "targets/paxos/multi/leases.py"
QUORUMS = "targets/paxos/quorums.py"
SINGLE_ACCEPTOR = "targets/paxos/single/acceptor.py"
SINGLE_PROPOSER = "targets/paxos/single/proposer.py"


def _multi(name: str, file: str, text: str, instead: str, why: str, harmless: str = "") -> CoreMutant:
    return CoreMutant("paxos", name, file, text, instead, why, harmless)


def _single(name: str, file: str, text: str, instead: str, why: str, harmless: str = "") -> CoreMutant:
    return CoreMutant("paxos-single", name, file, text, instead, why, harmless)


MULTI = (
    _multi(
        "lower-ballots-promised",
        ACCEPTOR,
        "        if ballot < self.promised:\n            return False\n        if ballot > self.promised:",
        "        if ballot != self.promised:",
        "an acceptor promises only what is higher than all that it promised (PMS §2.2, phase 1b)",
    ),
    _multi(
        "acceptance-is-no-promise",
        ACCEPTOR,
        "        if ballot > self.promised:\n            self.promised = ballot\n        held = self.held",
        "        held = self.held",
        "who accepts a ballot accepts none below it any more (PMS §2.2)",
    ),
    _multi(
        "forgets-a-slot-too-many",
        ACCEPTOR,
        "for slot in [slot for slot in self.held if slot <= index]:",
        "for slot in [slot for slot in self.held if slot <= index + 1]:",
        "what no snapshot stands for is remembered (PMS §2.3)",
    ),
    _multi(
        "restart-takes-acceptance-for-no-promise",
        ACCEPTOR,
        """        self.promised = max(ballot, self.promised)
        for record""",
        """        for record""",
        "who accepts a ballot accepts none below it any more, also after a crash (PMS §2.3)",
    ),
    _multi(
        "lowest-ballot-wins",
        PROPOSER,
        "return max(reported, key=lambda held: held.ballot).entry",
        "return min(reported, key=lambda held: held.ballot).entry",
        "the value of the highest ballot is proposed (PMS §2.2, P2c)",
    ),
    _multi(
        "own-acceptances-left-out",
        CORE,
        "own = Promise(ballot, True, ballot, 0, tuple(self.acceptor.held_from(from_slot)))",
        "own = Promise(ballot, True, ballot, 0, ())",
        "a promise tells what was accepted, one's own too (PMS §2.2)",
    ),
    _multi(
        "promises-tell-only-what-is-chosen",
        CORE,
        "held = {one.slot: one for one in self.acceptor.held_from(request.from_slot)}",
        "held: dict[int, Held[Any]] = {}",
        "a promise tells what was accepted (PMS §2.2)",
    ),
    _multi(
        "promises-tell-only-what-is-accepted",
        CORE,
        "        held.update({slot: Held(slot, ballot, entry, True) for slot, entry in known.items()})\n",
        "",
        "an acceptor that has forgotten an acceptance behind a snapshot still tells what is chosen",
    ),
    _multi(
        "promises-of-other-ballots-counted",
        CORE,
        "if candidacy is None or reply.ballot != candidacy.ballot:",
        "if candidacy is None:",
        "a promise counts for its own ballot (PMS §2.2)",
    ),
    _multi(
        "leads-one-promise-short",
        CORE,
        "if len(candidacy.promises) >= self._quorums.phase_1:",
        "if len(candidacy.promises) >= self._quorums.phase_1 - 1:",
        "a quorum of phase 1 must promise (PMS §2.2)",
    ),
    _multi(
        "acceptances-of-other-ballots-counted",
        CORE,
        "if leadership is None or reply.ballot != leadership.ballot:",
        "if leadership is None:",
        "an acceptance counts for its own ballot (PMS §2.2)",
    ),
    _multi(
        "refusals-confirm-reads",
        CORE,
        """        if not reply.granted:
            self._step_down(None, out)
            return
        if reply.number""",
        """        if reply.number""",
        "who refuses has promised to another: he confirms no leader",
    ),
    _multi(
        "chosen-one-acceptance-short",
        LEADERSHIP,
        "if len(votes) >= self._phase_2:",
        "if len(votes) >= self._phase_2 - 1:",
        "a quorum of phase 2 must accept (PMS §2.2)",
    ),
    _multi(
        "learns-what-it-holds",
        CORE,
        "if own is not None and own[0] == ballot:",
        "if own is not None and own[0] <= ballot:",
        "what was accepted under another ballot need not be what was chosen (PMS §2.3)",
    ),
    _multi(
        "candidate-skips-a-slot",
        CORE,
        "from_slot = self.learner.chosen_index + 1\n        self._candidacy",
        "from_slot = self.learner.chosen_index + 2\n        self._candidacy",
        "a new leader proposes again from the first slot that it does not know to be chosen (PMS §3)",
    ),
    _multi(
        "ballot-above-what-it-heard-only",
        CORE,
        "ballot = above(max(self._drawn, self._seen, promised), self._node)",
        "ballot = above(self._seen, self._node)",
        "a proposer never uses a ballot twice, after a restart either (PMS §2.2)",
    ),
    _multi(
        "read-before-its-own-no-op",
        CORE,
        "leadership.read_index_min = leadership.last_slot",
        "leadership.read_index_min = 0",
        "a new leader reads when it knows all that was chosen before it (PMS §3)",
    ),
    _multi(
        "read-counts-the-round-before",
        LEADERSHIP,
        "self._reads.append((self._number, max(",
        "self._reads.append((self._number - 1, max(",
        "the messages that confirm a read are sent after it came",
    ),
    _multi(
        "one-answer-confirms-reads",
        LEADERSHIP,
        "return reached_by(marks, self._phase_2)",
        "return reached_by(marks, 1)",
        "a quorum of phase 2 confirms that the leader still leads",
    ),
    _multi(
        "reached-by-one-fewer",
        QUORUMS,
        "return sorted(marks, reverse=True)[size - 1]",
        "return sorted(marks, reverse=True)[max(0, size - 2)]",
        "a quorum of phase 2 confirms that the leader still leads",
    ),
    _multi(
        "lost-accepts-not-sent-again",
        LEADERSHIP,
        "                peer.next_slot = peer.match + 1\n",
        "",
        "a leader asks again until a quorum has accepted (PMS §2.4, progress)",
    ),
    _multi(
        "answers-whoever-waits",
        LEARNER,
        "if entry.origin == origin",
        "if entry.origin or origin",
        "a client is answered when its own command is chosen, not another in its slot",
    ),
    _multi(
        "unknown-told-as-failed",
        LEARNER,
        '_UNKNOWN: Answer[Any] = Answer("unknown")',
        '_UNKNOWN: Answer[Any] = Answer("superseded")',
        "who does not know how a command ends does not say that it failed",
    ),
    _multi(
        "snapshot-claims-one-slot-more",
        LEARNER,
        "self.snapshot = snapshots.take(self.machine, self.chosen_index)",
        "self.snapshot = snapshots.take(self.machine, self.chosen_index + 1)",
        "a snapshot says the last slot that is in it",
    ),
    _multi(
        "checkpoint-drops-a-slot",
        CORE,
        "held = tuple(self.acceptor.held_from(snapshot.index + 1))",
        "held = tuple(self.acceptor.held_from(snapshot.index + 2))",
        "what was accepted outlives a crash (PMS §2.3)",
    ),
    _multi(
        "lease-forgotten-by-a-restart",
        CORE,
        "        self._grant.begin(None, out)  # It may have granted a lease just before it stopped.\n",
        "",
        "who has just started may have granted a lease before (Gray and Cheriton 1989)",
    ),
    _multi(
        "lease-without-the-drift-bound",
        LEASES,
        "self._usable_ns = int(self._lease_ns / (1 + options.clock_drift_max) ** 2)",
        "self._usable_ns = self._lease_ns",
        "a lease allows for clocks that run fast and slow (Gray and Cheriton 1989)",
    ),
    _multi(
        "prepare-breaks-a-lease",
        CORE,
        "if self._grant.forbids(source) or not self.acceptor.promise(ballot, out):",
        "if not self.acceptor.promise(ballot, out):",
        "who granted a lease promises nothing to another until it ends (Gray and Cheriton 1989)",
    ),
)

SINGLE = (
    _single(
        "lower-ballots-promised",
        SINGLE_ACCEPTOR,
        """        if ballot < promised:
            return Promise(key, ballot, False, promised)
        if ballot > promised:""",
        """        if ballot != promised:""",
        "an acceptor promises only what is higher than all that it promised (PMS §2.2, phase 1b)",
    ),
    _single(
        "acceptance-is-no-promise",
        SINGLE_ACCEPTOR,
        "            self._promised[key] = max(ballot, promised)\n",
        "",
        "who accepts a ballot accepts none below it any more (PMS §2.2)",
    ),
    _single(
        "promises-tell-nothing",
        SINGLE_ACCEPTOR,
        "return Promise(key, ballot, True, ballot, self._accepted.get(key))",
        "return Promise(key, ballot, True, ballot, None)",
        "a promise tells what was accepted (PMS §2.2)",
    ),
    _single(
        "restart-takes-acceptance-for-no-promise",
        SINGLE_ACCEPTOR,
        """        self._promised[record.key] = max(record.ballot, self.promised(record.key))
        if isinstance(record, Accepted):""",
        """        if isinstance(record, Promised):
            self._promised[record.key] = max(record.ballot, self.promised(record.key))
        if isinstance(record, Accepted):""",
        "who accepts a ballot accepts none below it any more, also after a crash (PMS §2.3)",
    ),
    _single(
        "lowest-ballot-wins",
        SINGLE_PROPOSER,
        "return max(reported, key=lambda proposal: proposal.ballot).value",
        "return min(reported, key=lambda proposal: proposal.ballot).value",
        "the value of the highest ballot is proposed (PMS §2.2, P2c)",
    ),
    _single(
        "value-of-a-quorum-only",
        SINGLE_PROPOSER,
        "        if not reported:\n            return own",
        "        if len(reported) < self._quorums.phase_1 and own is not None:\n            return own\n        if not reported:\n"
        "            return None",
        "one acceptance that a promise reports binds the proposer (PMS §2.2, P2c)",
    ),
    _single(
        "answers-of-other-ballots-counted",
        SINGLE_PROPOSER,
        "return attempt, round if round is not None and round.ballot == ballot else None",
        "return attempt, round",
        "promises and acceptances count for their own ballot (PMS §2.2)",
    ),
    _single(
        "proposes-one-promise-short",
        SINGLE_PROPOSER,
        "if len(round.promises) < self._quorums.phase_1:",
        "if len(round.promises) < self._quorums.phase_1 - 1:",
        "a quorum of phase 1 must promise (PMS §2.2)",
    ),
    _single(
        "chosen-one-acceptance-short",
        SINGLE_PROPOSER,
        "if len(round.accepted_by) < self._quorums.phase_2:",
        "if len(round.accepted_by) < self._quorums.phase_2 - 1:",
        "a quorum of phase 2 must accept (PMS §2.2)",
    ),
    _single(
        "refused-promises-counted",
        SINGLE_PROPOSER,
        """        if not reply.granted:
            self._back_off(key, attempt, reply.promised, out)
            return
        round.promises""",
        """        round.promises""",
        "who refuses promises nothing (PMS §2.2)",
    ),
    _single(
        "refused-acceptances-counted",
        SINGLE_PROPOSER,
        """        if not reply.granted:
            self._back_off(key, attempt, reply.promised, out)
            return None
        round.accepted_by""",
        """        round.accepted_by""",
        "who refuses accepts nothing (PMS §2.2)",
    ),
    _single(
        "ballot-above-what-it-heard-only",
        SINGLE_PROPOSER,
        "ballot = above(max(self._drawn.get(key, NO_BALLOT), self._seen.get(key, NO_BALLOT)), self._node)",
        "ballot = above(self._seen.get(key, NO_BALLOT), self._node)",
        "a proposer never uses a ballot twice (PMS §2.2)",
    ),
    _single(
        "nothing-told-to-late-comers",
        SINGLE_PROPOSER,
        "for request_id in sorted(round.asked_by):",
        "for request_id in sorted(attempt.waiting):",
        "a quorum that had accepted nothing says so of the time before it was asked",
    ),
)
