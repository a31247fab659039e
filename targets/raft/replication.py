"""How the log is replicated: the leader appends and sends, followers store and acknowledge (Raft §5.3)."""

from __future__ import annotations

from typing import Any

from targets.core import NodeId, Send
from targets.machines.machine import Command
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.configuration import Configuration
from targets.raft.leadership import Leadership
from targets.raft.log import Entry
from targets.raft.member import Effects, Member
from targets.raft.messages import AppendEntries, AppendEntriesReply, InstallSnapshotReply
from targets.raft.records import Append, Truncate


class Replication(Member):
    """The rules of AppendEntries, on both sides."""

    # --- the leader ---------------------------------------------------------------------------------------------------

    def _append_own(
        self, leadership: Leadership, command: Command | None, out: Effects, config: Configuration | None = None
    ) -> None:
        """Append to the leader's own log, send the entry, and write it to disk while it travels (thesis §10.2.1).

        The leader's own copy counts when SyncDone tells that it is durable.
        """
        entries = (Entry(self._term, command, config),)
        self._log.append(entries)
        index = self._log.last_index
        out.extend(traces.appends(index, entries))
        if config is not None:
            self._take_config(out)
        leadership.replicate(self._commit_index, out)
        self._token += 1
        leadership.writing(index, self._token)
        self._persist(Append(index, entries), out, self._token)

    def _on_follower_reply(
        self, source: NodeId, reply: AppendEntriesReply | InstallSnapshotReply, out: Effects
    ) -> None:
        """Count the answer for commitment and for reads, and send what the follower still lacks (Raft §5.3, figure 13).

        It counts only for the leadership that asked: a refusal of an old term answers none that still lasts.
        """
        leadership = self._leadership
        if reply.term != self._term or leadership is None or not reply.sequence:
            if reply.term > self._term:
                self._adopt_term(reply.term, out)
            return
        if reply.sequence > leadership.sequence or reply.match_index > self._log.last_index:
            out.append(
                traces.acknowledged_unsent(
                    source, reply.sequence, leadership.sequence, reply.match_index, self._log.last_index
                )
            )
        if reply.__class__ is AppendEntriesReply:
            has_more = leadership.answered(source, reply)
        else:
            has_more = leadership.snapshot_answered(source, reply)  # type: ignore[arg-type]
        if has_more:
            self._advance_commit(leadership, out)
        if leadership.reads:
            self._answer_reads(leadership, out)
        leadership.follow_up(source, self._commit_index, out)

    # --- the follower -------------------------------------------------------------------------------------------------

    def _on_append_entries(self, source: NodeId, request: AppendEntries[Any], out: Effects) -> None:
        """Follow a leader whose term is not old; refuse what does not fit its log; store the rest (Raft figure 2)."""
        term, sequence = request.term, request.sequence
        if request.receiver != self._identity:
            return
        if term < self._term and zoo.IGNORE_TERM_IN_APPEND not in self._bugs:
            number = sequence if zoo.STALE_APPEND_REPLY_COUNTED in self._bugs else 0
            out.append(Send(source, AppendEntriesReply(self._term, False, number)))
            return
        if not self._follow(source, term, out):
            return
        log, prev, entries = self._log, request.prev_log_index, request.entries
        if prev > log.last_index:
            out.append(Send(source, AppendEntriesReply(term, False, sequence, 0, log.last_index + 1)))
            return
        match_index = prev + len(entries)
        if prev < log.base_index:
            # What this node's snapshot stands for is committed, and so the same in the log of every leader (Raft §5.4).
            entries = entries[log.base_index - prev :]
            prev = log.base_index
            if not entries:
                out.append(Send(source, AppendEntriesReply(term, True, sequence, match_index)))
                return
        prev_term = log.term_at(prev)
        if prev_term != request.prev_log_term and prev == request.prev_log_index:
            conflict_index = log.first_index_of_term(prev_term)
            out.append(Send(source, AppendEntriesReply(term, False, sequence, 0, conflict_index, prev_term)))
            return
        reply = Send(source, AppendEntriesReply(term, True, sequence, match_index))
        if not entries:
            out.append(reply)
        elif zoo.PERSIST_AFTER_SEND in self._bugs:
            out.append(reply)
            self._store(prev + 1, entries, out)
        else:
            self._store(prev + 1, entries, out)
            out.append(reply)
        commit_index = request.leader_commit
        if commit_index > match_index:
            # What stands behind the entries that this message speaks of may differ from the leader's.
            is_unmatched_trusted = zoo.HEARTBEAT_COMMITS_UNMATCHED in self._bugs
            commit_index = min(commit_index, log.last_index) if is_unmatched_trusted else match_index
        if commit_index > self._commit_index:
            self._commit(commit_index, out)

    def _store(self, index: int, entries: tuple[Entry[Any], ...], out: Effects) -> None:
        """Make the log agree with `entries` from `index` on (Raft figure 2, AppendEntries 3 and 4).

        Entries that are there already stay, with all behind them: a late message must not shorten a log.
        """
        log = self._log
        present_count = log.count_present(index, entries)
        if present_count == len(entries):
            if zoo.TRUNCATE_COMMITTED in self._bugs and index + present_count <= log.last_index:
                self._truncate(index + present_count, out)
            return
        index += present_count
        news = entries[present_count:]
        if index <= log.last_index:
            self._truncate(index, out)
        log.append(news)
        out.extend(traces.appends(index, news))
        if log.config is not self._seen_config:
            self._take_config(out)
        self._persist(Append(index, news), out)
        if zoo.APPLY_BEFORE_COMMIT in self._bugs:
            self._state.advance(log, log.last_index, out)

    def _truncate(self, index: int, out: Effects) -> None:
        """The log ends before `index`."""
        log = self._log
        log.truncate(index)
        # Never lowered, but by a planted bug or a member that lost what it had promised to keep.
        self._commit_index = min(self._commit_index, log.last_index)
        out.append(traces.truncate(index))
        if log.config is not self._seen_config:
            self._take_config(out)
        self._persist(Truncate(index), out)
