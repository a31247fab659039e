"""How a participant in doubt learns the decision: it asks the coordinator and the other participants (Bernstein, Hadzilacos
and Goodman 1987, §7.4, the cooperative termination protocol).

One that has decided tells. One that has not voted refuses for ever, so that the transaction has aborted. When all that answer are
in doubt themselves, two-phase commit waits. Three-phase commit (Skeen 1981, §6) takes those that do not answer to have crashed, and
decides: it commits if one knows that all have voted yes, and aborts otherwise. Across a partition both sides do so, and differ.
"""

from __future__ import annotations

from histories.tracing import Custom
from targets.core import Effect, NodeId, Persist, Send, SetTimer, Trace
from targets.twopc import bugs as zoo
from targets.twopc import messages as told
from targets.twopc.messages import Inquire, PreCommit, Standing
from targets.twopc.options import CommitOptions
from targets.twopc.outcomes import ABORTED
from targets.twopc.participant import DOUBT, InDoubt, Participant, timer_of
from targets.twopc.records import PreCommitted
from targets.twopc.transactions import TxnId, name_of

Effects = list[Effect]

_MS = 1_000_000


class Doubt:
    """The termination protocols of one participant."""

    def __init__(self, node: NodeId, options: CommitOptions, bugs: frozenset[str], participant: Participant) -> None:
        self._node = node
        self._options = options
        self._bugs = bugs
        self._participant = participant

    def on_timer(self, txn: TxnId, out: Effects) -> None:
        """No decision came: decide as far as the protocol allows it, and else ask again."""
        doubt = self._participant.in_doubt.get(txn)
        if doubt is None:
            return
        if not doubt.doubted:
            doubt.doubted = True
            out.append(Trace(Custom("doubted", {"txn": name_of(txn)})))
        if zoo.COMMIT_AFTER_ABORT in self._bugs and not doubt.was_down:
            self._give_up(txn, doubt, out)
            return
        if self._options.protocol == "3pc" and doubt.heard and self._terminate(txn, doubt, out):
            return
        doubt.heard = {self._node: "pre-committed" if doubt.pre_committed is not None else "uncertain"}
        out.extend(Send(node, Inquire(txn)) for node in self._asked(txn, doubt))
        out.append(SetTimer(timer_of(DOUBT, txn), self._options.doubt_ms * _MS))

    def _asked(self, txn: TxnId, doubt: InDoubt) -> tuple[NodeId, ...]:
        """The coordinator first; a node that is both is asked once."""
        others = doubt.record.participants if self._options.termination == "cooperative" else ()
        return (txn[1], *(node for node in others if node not in (self._node, txn[1])))

    def _give_up(self, txn: TxnId, doubt: InDoubt, out: Effects) -> None:
        """The bug: abort alone after a yes, and carry out the commit should it come all the same."""
        record = doubt.record
        self._participant.abort(txn, out)
        self._participant.remember_for_late_commit(record)

    # --- being asked ----------------------------------------------------------------------------------------------------

    def on_inquire(self, source: NodeId, message: Inquire, out: Effects) -> None:
        """Say what is known. Who has not voted yet refuses now, and it is certain that the transaction has aborted."""
        txn, participant = message.txn, self._participant
        doubt = participant.in_doubt.get(txn)
        ended = participant.outcomes.of(txn)
        if doubt is not None:
            standing = Standing(txn, "uncertain")
            if doubt.pre_committed is not None:
                standing = Standing(txn, "pre-committed", doubt.pre_committed)
        elif ended:
            standing = Standing(txn, "committed", ended)
        elif ended == ABORTED or participant.outcomes.is_finished(txn):
            # Of what is finished the asking one has not acknowledged a commit: there was none.
            standing = Standing(txn, "aborted")
        else:
            participant.refuse(txn, out)
            standing = Standing(txn, "aborted")
        out.append(Send(source, standing))

    # --- being told -----------------------------------------------------------------------------------------------------

    def on_standing(self, source: NodeId, message: Standing, out: Effects) -> None:
        """Do as one who knows."""
        txn = message.txn
        doubt = self._participant.in_doubt.get(txn)
        if doubt is None:
            return
        match message.state:
            case "committed":
                self._participant.commit(txn, message.timestamp, out)
            case "aborted":
                self._participant.abort(txn, out)
            case state:
                doubt.heard[source] = state
                if state == "pre-committed" and doubt.pre_committed is None:
                    self._know(txn, doubt, message.timestamp, out)

    def on_pre_commit(self, source: NodeId, message: PreCommit, out: Effects) -> None:
        """All have voted yes: on disk before it is said."""
        txn = message.txn
        doubt = self._participant.in_doubt.get(txn)
        if doubt is None:
            if self._participant.outcomes.of(txn):
                out.append(Send(source, told.PreCommitted(txn)))
            return
        if doubt.pre_committed is None:
            self._know(txn, doubt, message.timestamp, out)
        if source == txn[1]:
            out.append(Send(source, told.PreCommitted(txn)))
            out.append(SetTimer(timer_of(DOUBT, txn), self._options.doubt_ms * _MS))

    def _know(self, txn: TxnId, doubt: InDoubt, timestamp: int, out: Effects) -> None:
        doubt.pre_committed = timestamp
        out.append(Persist(PreCommitted(txn, timestamp)))

    # --- three-phase commit ---------------------------------------------------------------------------------------------

    def _terminate(self, txn: TxnId, doubt: InDoubt, out: Effects) -> bool:
        """Decide with those that answered since the last time-out; whether that was possible (Skeen 1981, §6)."""
        heard = {**doubt.heard, self._node: "uncertain" if doubt.pre_committed is None else "pre-committed"}
        if "undecided" in heard.values():  # The coordinator is there and waits itself.
            return False
        of_all = all(node in heard for node in doubt.record.participants)
        if doubt.was_down and not of_all:
            return False  # Others may have decided while this node was down.
        if doubt.pre_committed is None:
            self._participant.abort(txn, out)
            return True
        behind = [node for node, state in heard.items() if state == "uncertain" and node in doubt.record.participants]
        if behind:  # All that are there have to know it before one commits.
            out.extend(Send(node, PreCommit(txn, doubt.pre_committed)) for node in behind)
            return False
        self._participant.commit(txn, doubt.pre_committed, out)
        return True
