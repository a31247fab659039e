"""A replica of mode `quorum`: N homes for each key, of which a read asks R and a write W, in the manner of Dynamo (SOSP 2007).

Any node coordinates any request. It sends a write to the N nodes that keep the key, and answers when W have it on disk; it asks
all N for a read, and answers with what the first R hold, joined. With R + W > N and *strict* quorums, the R see what the W
acknowledged. With *sloppy* ones (§4.6), nodes outside the homes stand in for those that are suspected or do not answer: they keep
a *hint*, and hand it to its owner when that is heard again. R and W then need not meet.

*Read repair* writes what a read returns to the nodes that held less: behind the answer, as Dynamo does, or before it, so that no
later read returns less. *Anti-entropy* between homes mends the rest.

Invariants: a stamp is on disk at its coordinator before anybody sees it, or a restarted node whose clock went back would give it
twice. A state counts for a quorum when it is on the disk of the node that says so. Tombstones stay: no node knows who lacks one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from targets.core import (
    DiskFailed,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
)
from targets.core import Request as Requested
from targets.gossip import backup
from targets.gossip import bugs as planted
from targets.gossip.contexts import EMPTY, Seen
from targets.gossip.crdts import AnyState, LastWriter, joined, stamp_of
from targets.gossip.hybrid_clock import NS_PER_MS, HybridClock
from targets.gossip.membership import Heartbeats
from targets.gossip.messages import TAKE_BACKUP, Answer, Difference, KeyState, StoreRequest, Summary
from targets.gossip.options import GossipOptions
from targets.gossip.preference import chosen, preference_list
from targets.gossip.quorum_messages import Get, HandedOff, Held, Hint, Kept, Number, Put, Stored
from targets.gossip.store import RANGES, KeyStates, range_of
from targets.gossip.updates import Refusal, delta_of, result_of
from targets.machines.machine import Key

ROUND = "round"
PATIENCE_ROUNDS = 2
"""A node that has not answered for so long is asked again, and another one stands in for it."""
HINTS_MAX = 50
"""Handed to one owner in one round."""


class Pending:
    """A request under way. asked: node -> the home that it stands in for, "" for a home. held: what nodes answered to a read.
    has: the nodes that have `state` on disk: the update, or what the read returns. replaced: nodes that another one stands in for.
    """

    __slots__ = ("asked", "began", "has", "held", "is_answered", "replaced", "request", "request_id", "state")

    def __init__(self, request_id: int, request: StoreRequest, asked: dict[NodeId, NodeId], began: int) -> None:
        self.request_id = request_id
        self.request = request
        self.asked = asked
        self.began = began
        self.state: AnyState | None = None
        self.held: dict[NodeId, AnyState | None] = {}
        self.has: set[NodeId] = set()
        self.replaced: set[NodeId] = set()
        self.is_answered = False

    @property
    def is_read(self) -> bool:
        return self.request.f == "read"


class QuorumReplica:
    """Implements targets.core.Core."""

    def __init__(
        self, node: NodeId, members: Sequence[NodeId], options: GossipOptions, bugs: frozenset[str], rng: random.Random
    ) -> None:
        self.node = node
        self.members = tuple(sorted(set(members) | {node}))
        self.options = options
        self.bugs = bugs
        self.rng = rng
        self.peers = tuple(each for each in self.members if each != node)
        self.states = KeyStates()
        self.hints: dict[NodeId, dict[Key, AnyState]] = {}
        self.clock = HybridClock()
        self.heartbeats = Heartbeats(node, self.peers, options.suspect_rounds)
        self.round = 0
        self.dots = 0
        self.life = 0
        self.count = 0
        self.pending: dict[Number, Pending] = {}
        self.handing: dict[Number, tuple[Hint, int]] = {}
        self.records_count = 0
        self.epoch = 0
        self.is_sloppy = options.quorums == "sloppy" or planted.SLOPPY_COUNTED_AS_STRICT in bugs

    def step(self, now_ns: int, event: Event) -> list[Effect]:
        """The effects of one event."""
        match event:
            case Requested(body=StoreRequest() as request):
                return self._on_request(now_ns, event.request_id, request)
            case Received(message=Put() | Get() | Stored() | Held() | Summary() | Difference() as message) if (
                message.epoch != self.epoch
            ):
                return []  # Of the cluster as it was before it was restored.
            case Received(message=Put() as put):
                return self._on_put(put)
            case Received(message=Get() as get):
                held_now = self._local(get.key)
                return [Send(get.source, Held(self.node, get.number, held_now, self.clock.latest, self.epoch))]
            case Received(message=Stored() as stored):
                return self._on_stored(stored)
            case Received(message=Held() as held):
                return self._on_held(held)
            case Received(message=Summary() as summary):
                return self._on_summary(summary)
            case Received(message=Difference() as difference):
                return self._on_difference(difference)
            case Received():  # Rumors belong to the other modes.
                return []
            case TimerFired(name="round"):
                return self._on_round()
            case Started(records=records, damage=damage):
                return self._on_started(records, damage)
            case DiskFailed(reason=reason):
                return [Halt(reason)]
            case SyncDone():
                return []
        raise AssertionError(f"{event!r} is none of its events")

    def status(self) -> dict[str, Any]:
        """What `GET /status` shows. digests: of the ranges that the node is a home of; equal on nodes that agree."""
        return {
            "role": "replica",
            "leader": None,
            "mode": self.options.mode,
            "digests": {str(number): self.states.digests[number] for number in range(RANGES) if self._is_home(number)},
            "hints": sum(len(held) for held in self.hints.values()),
            "suspected": list(self.heartbeats.suspected),
            "waiting": len(self.pending),
            "bugs": sorted(self.bugs),
        }

    def _preferred(self, key: Key) -> tuple[NodeId, ...]:
        return preference_list(range_of(key), self.members)

    def _is_home(self, range_number: int, node: NodeId | None = None) -> bool:
        return (node or self.node) in preference_list(range_number, self.members)[: self.options.replicas]

    # --- the disk -----------------------------------------------------------------------------------------------------

    def _on_started(self, records: Sequence[Record], damage: str | None) -> list[Effect]:
        if damage is not None:
            return [Halt(damage)]
        for record in records:
            match record:
                case Kept():
                    self._join(record.states, record.hints)
                    self.dots = max(self.dots, record.dots)
                    self.epoch = max(self.epoch, record.epoch)
                    self.clock.observe(record.latest)
                case HandedOff(hint=hint):
                    self._drop(hint)
        self.records_count = len(records)
        self.dots += 1
        self.life = self.dots
        first_ms = self.rng.randrange(self.options.gossip_ms) + 1
        return [*self._keep(), SetTimer(ROUND, first_ms * NS_PER_MS)]

    def _keep(self, states: tuple[KeyState, ...] = (), hints: tuple[Hint, ...] = ()) -> list[Effect]:
        """Join these, and write them down with the stamp and the dots given so far."""
        self._join(states, hints)
        return self._record(Kept(states, hints, self.dots, self.clock.latest))

    def _record(self, record: Kept | HandedOff) -> list[Effect]:
        self.records_count += 1
        if self.records_count < self.options.checkpoint_records:
            return [Persist(record)]
        self.records_count = 1
        return [Persist(self._checkpoint(), is_checkpoint=True)]

    def _checkpoint(self) -> Kept:
        """All that the node has."""
        states = tuple(KeyState(key, state) for key, state in self.states.items())
        hints = tuple(Hint(owner, key, state) for owner in self.hints for key, state in self.hints[owner].items())
        return Kept(states, hints, self.dots, self.clock.latest, self.epoch)

    def _join(self, states: Sequence[KeyState], hints: Sequence[Hint]) -> None:
        for given in states:
            self.states.put(given.key, _both(self.states.get(given.key), given.state))
            self.clock.observe(stamp_of(given.state))
        for hint in hints:
            kept = self.hints.setdefault(hint.owner, {})
            state = _both(kept.get(hint.key), hint.state)
            assert state is not None, "a hint has a state"
            kept[hint.key] = state
            self.clock.observe(stamp_of(hint.state))

    def _drop(self, hint: Hint) -> bool:
        """The hint is gone. False where it is not there, or has more in it by now."""
        kept = self.hints.get(hint.owner, {})
        if kept.get(hint.key) != hint.state:
            return False
        del kept[hint.key]
        if not kept:
            del self.hints[hint.owner]
        return True

    def _local(self, key: Key) -> AnyState | None:
        """All that the node has of the key, for itself and for others."""
        state = self.states.get(key)
        for owner in sorted(self.hints):
            if key in self.hints[owner]:
                state = _both(state, self.hints[owner][key])
        return state

    # --- the coordinator ----------------------------------------------------------------------------------------------

    def _on_request(self, now_ns: int, request_id: int, request: StoreRequest) -> list[Effect]:
        if request.f == TAKE_BACKUP:
            return [Reply(request_id, Answer("ok", node=self.node, backup=backup.take(self._checkpoint())))]
        self.clock.observe(request.latest)
        suspected = self.heartbeats.suspected
        asked = chosen(self._preferred(request.key), self.options.replicas, suspected, is_sloppy=self.is_sloppy)
        pending = Pending(request_id, request, asked, self.round)
        number = self._number()
        persist: list[Effect] = []
        if not pending.is_read:
            self.dots += 1
            stamp = (self.clock.stamp(now_ns), self.node)
            delta = delta_of(request, self._local(request.key), stamp, (self.node, self.dots), self.options)
            if isinstance(delta, Refusal):
                return [Reply(request_id, self._answer("refused", reason=delta.reason))]
            pending.state = delta
            persist = self._store_own(pending) or self._keep()
        elif self.node in asked:
            pending.held[self.node] = self._local(request.key)
        self.pending[number] = pending
        questions = [self._question(number, pending, node) for node in asked if node != self.node]
        return [*persist, *self._progress(number), *questions]

    def _number(self) -> Number:
        self.count += 1
        return self.life, self.count

    def _store_own(self, pending: Pending) -> list[Effect]:
        """Keep the state of the request here, where this node is among those that were chosen."""
        if self.node not in pending.asked or pending.state is None:
            return []
        pending.has.add(self.node)
        return self._keep(*_as_kept(pending.asked[self.node], pending.request.key, pending.state))

    def _question(self, number: Number, pending: Pending, node: NodeId) -> Effect:
        if pending.is_read and pending.state is None:
            return Send(node, Get(self.node, number, pending.request.key, self.epoch))
        return self._put(number, pending, node)

    def _put(self, number: Number, pending: Pending, node: NodeId) -> Effect:
        assert pending.state is not None, "only what is there is put"
        key, owner = pending.request.key, pending.asked[node]
        return Send(node, Put(self.node, number, key, pending.state, owner, self.clock.latest, self.epoch))

    def _on_stored(self, stored: Stored) -> list[Effect]:
        self.clock.observe(stored.latest)
        if stored.number in self.handing:
            hint, _ = self.handing.pop(stored.number)
            return self._record(HandedOff(hint)) if self._drop(hint) else []
        pending = self.pending.get(stored.number)
        if pending is None or stored.source not in pending.asked:
            return []
        pending.has.add(stored.source)
        return self._progress(stored.number)

    def _on_held(self, held: Held) -> list[Effect]:
        self.clock.observe(held.latest)
        pending = self.pending.get(held.number)
        if pending is None or held.source not in pending.asked or held.source in pending.held:
            return []
        pending.held[held.source] = held.state
        if pending.state is None:
            return self._progress(held.number)
        # The answer is decided, or given: whoever holds less than it is mended.
        if _both(held.state, pending.state) == held.state:
            pending.has.add(held.source)
            return self._progress(held.number)
        return [self._put(held.number, pending, held.source)]

    def _progress(self, number: Number) -> list[Effect]:
        """Answer, or go on to the repair, where enough nodes have answered by now."""
        pending = self.pending[number]
        if not pending.is_read:
            if len(pending.has) < self.options.write_quorum:
                return []
            return self._answered(number, pending)
        effects: list[Effect] = []
        if pending.state is None:
            if len(pending.held) < self.options.read_quorum:
                return []
            pending.state = self._read(pending)
            if pending.state is None:
                return self._answered(number, pending)
            effects = self._repair(number, pending)
        needs = self.options.replicas - self.options.read_quorum + 1
        if self.options.read_repair == "after-answer":
            return [*self._answered(number, pending), *effects]
        if len(pending.has) < needs:
            return effects
        return [*effects, *self._answered(number, pending)]  # Behind its own record, which counts.

    def _read(self, pending: Pending) -> AnyState | None:
        """What the read returns: all that was held, joined."""
        found: AnyState | None = None
        for node in sorted(pending.held):
            found = _both(found, pending.held[node])
        if found is not None:
            self.clock.observe(stamp_of(found))
        return found

    def _repair(self, number: Number, pending: Pending) -> list[Effect]:
        """Write what the read returns to whoever holds less."""
        assert pending.state is not None, "there is something to write"
        if planted.READ_REPAIR_OLDER in self.bugs:
            return self._repair_backwards(number, pending)
        effects: list[Effect] = []
        for node, state in sorted(pending.held.items()):
            if _both(state, pending.state) == state:
                pending.has.add(node)
            elif node == self.node:
                effects += self._store_own(pending)
            else:
                effects.append(self._put(number, pending, node))
        return effects

    def _repair_backwards(self, number: Number, pending: Pending) -> list[Effect]:
        """What must not be: the oldest state that was held becomes a new update of all nodes."""
        states = [state for state in pending.held.values() if isinstance(state, LastWriter)]
        oldest = min(states, key=lambda state: state.stamp, default=None)
        if oldest is None or oldest == pending.state:
            return []
        self.dots += 1
        stamp = (self.clock.stamp(0), self.node)
        state = LastWriter(oldest.value, stamp, (self.node, self.dots), oldest.is_deleted)
        key = pending.request.key
        others = ((node, owner) for node, owner in pending.asked.items() if node != self.node)
        sends = [Send(node, Put(self.node, number, key, state, owner, stamp[0], self.epoch)) for node, owner in others]
        return [*self._keep(), *sends]

    def _answered(self, number: Number, pending: Pending) -> list[Effect]:
        """The client's answer, once. A read stays for those that have not answered, to mend them too."""
        if pending.is_read and pending.state is not None and len(pending.held) < len(pending.asked):
            if pending.is_answered:
                return []
            pending.is_answered = True
        else:
            del self.pending[number]
            if pending.is_answered:
                return []
        result = result_of(pending.request, pending.state) if pending.is_read else None
        return [Reply(pending.request_id, self._answer(result=result))]

    def _answer(self, status: Any = "ok", *, result: Any = None, reason: str = "") -> Answer:
        next_node = self.rng.choice(self.members)
        return Answer(status, result, reason, EMPTY, self.clock.latest, self.node, next_node)

    # --- those that keep ----------------------------------------------------------------------------------------------

    def _on_put(self, put: Put) -> list[Effect]:
        if put.owner and put.owner not in self.peers:
            return []
        self.clock.observe(put.latest)
        before = self.states.get(put.key) if not put.owner else self.hints.get(put.owner, {}).get(put.key)
        is_news = _both(before, put.state) != before
        effects = self._keep(*_as_kept(put.owner, put.key, put.state)) if is_news else []
        return [*effects, Send(put.source, Stored(self.node, put.number, self.clock.latest, self.epoch))]

    # --- rounds -------------------------------------------------------------------------------------------------------

    def _on_round(self) -> list[Effect]:
        self.round += 1
        self.heartbeats.beat()
        effects: list[Effect] = [SetTimer(ROUND, self.options.gossip_ms * NS_PER_MS)]
        peer = self.heartbeats.choose(self.rng)
        if peer is not None:
            effects.append(Send(peer, self._summary(is_answer=False)))
        return [*effects, *self._hand_off(), *self._go_on()]

    def _go_on(self) -> list[Effect]:
        """Ask again whoever does not answer, let others stand in for them, and give up what took too long."""
        effects: list[Effect] = []
        until = self.options.wait_rounds
        for number, pending in list(self.pending.items()):
            age = self.round - pending.began
            if age >= until:
                del self.pending[number]
                if not pending.is_answered:
                    reason = "too few nodes answered"
                    effects.append(Reply(pending.request_id, self._answer("unavailable", reason=reason)))
            elif age % PATIENCE_ROUNDS == 0 and not pending.is_answered:
                effects += self._ask_again(number, pending)
        return effects

    def _ask_again(self, number: Number, pending: Pending) -> list[Effect]:
        answered = pending.has if pending.state is not None else pending.held.keys()
        silent = [node for node in pending.asked if node not in answered and node != self.node]
        if self.is_sloppy:
            homes = self._preferred(pending.request.key)[: self.options.replicas]
            for node in silent:
                others = [each for each in self._preferred(pending.request.key) if each not in pending.asked]
                if node not in pending.replaced and others:
                    pending.replaced.add(node)
                    pending.asked[others[0]] = "" if others[0] in homes else pending.asked[node] or node
                    silent = [*silent, others[0]]
        effects: list[Effect] = []
        for node in silent:
            if node != self.node:
                effects.append(self._question(number, pending, node))
            elif pending.state is None:
                pending.held[node] = self._local(pending.request.key)
                effects += self._progress(number)
            else:
                effects += [*self._store_own(pending), *self._progress(number)]
            if number not in self.pending:
                break
        return effects

    def _hand_off(self) -> list[Effect]:
        """Bring hints to the owners that are heard again (§4.6)."""
        effects: list[Effect] = []
        self.handing = {number: each for number, each in self.handing.items() if self.round - each[1] < 20}
        for owner in sorted(self.hints):
            if owner in self.heartbeats.suspected:
                continue
            to = owner
            if planted.HINT_TO_WRONG_NODE in self.bugs:
                to = next(
                    node for node in preference_list(self.members.index(owner) + 1, self.members) if node != self.node
                )
            for key, state in list(self.hints[owner].items())[:HINTS_MAX]:
                number = self._number()
                self.handing[number] = Hint(owner, key, state), self.round
                effects.append(Send(to, Put(self.node, number, key, state, "", self.clock.latest, self.epoch)))
        return effects

    # --- anti-entropy between homes -----------------------------------------------------------------------------------

    def _summary(self, *, is_answer: bool) -> Summary:
        beats = dict(self.heartbeats.beats)
        digests = tuple(self.states.digests)
        return Summary(self.node, is_answer, digests, EMPTY, beats, self.clock.latest, self.epoch)

    def _on_summary(self, summary: Summary) -> list[Effect]:
        if summary.source not in self.peers or len(summary.digests) != RANGES:
            return []
        self._hear(summary)
        ranges = tuple(
            number
            for number in range(RANGES)
            if summary.digests[number] != self.states.digests[number]
            and self._is_home(number)
            and self._is_home(number, summary.source)
        )
        beats = dict(self.heartbeats.beats)
        states = self.states.in_ranges(ranges)
        effects: list[Effect] = [
            Send(
                summary.source,
                Difference(self.node, states, EMPTY, EMPTY, beats, self.clock.latest, ranges, self.epoch),
            )
        ]
        if ranges and not summary.is_answer:
            effects.append(Send(summary.source, self._summary(is_answer=True)))
        return effects

    def _on_difference(self, difference: Difference) -> list[Effect]:
        if difference.source not in self.peers:
            return []
        self._hear(difference)
        news = tuple(
            given
            for given in difference.states
            if self._is_home(range_of(given.key))
            and _both(self.states.get(given.key), given.state) != self.states.get(given.key)
        )
        return self._keep(news) if news else []

    def _hear(self, message: Summary | Difference) -> None:
        self.heartbeats.hear(message.source, message.beats)
        self.clock.observe(message.latest)


_NOTHING = Seen()
"""Of what was removed, everything stays: nothing is kept out because its dot was seen."""


def _both(mine: AnyState | None, theirs: AnyState | None) -> AnyState | None:
    return mine if theirs is None else joined(mine, theirs, _NOTHING)


def _as_kept(owner: NodeId, key: Key, state: AnyState) -> tuple[tuple[KeyState, ...], tuple[Hint, ...]]:
    """The state as this node keeps it: for itself, or as a hint for its owner."""
    return ((), (Hint(owner, key, state),)) if owner else ((KeyState(key, state),), ())
