"""A replica: takes every read and update itself, and tells the others by rumor and by anti-entropy (Demers et al. 1987).

An update gets the next dot of its node, is written to disk, answered, and sent on as a *rumor* to some nodes; who hears it
first sends it on. *Anti-entropy* mends what rumors miss: every round the node sends digests of its ranges to a peer, which
answers with everything in the ranges that differ and, when there was a difference, asks back in the same way. The answer is the
peer's state at one moment, so that who joins it has every update that the peer has: its dots can be taken over as a whole.

What the modes add:

- `causal`: a rumor waits for its causes. Anti-entropy brings causes with their effects anyway, since each node's state has them.
- `session` and `causal`: a request names the dots that its client has seen, and waits until they are here. So that a client
that saw an
  update before its causes finds those elsewhere, a node *owes* the causes of all rumors that it joined, and tells clients of
  them as seen.

Invariants: an own dot is on disk before anybody sees it, or a restarted node would give it twice. `seen` tells no dot whose
update is not joined, or replaced, or removed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

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
from targets.gossip.contexts import EMPTY, Actor, Context, Dot, Seen, node_of
from targets.gossip.crdts import AnyState, Counter, LastWriter, ObservedRemove, joined, stamp_of, summed
from targets.gossip.hybrid_clock import NS_PER_MS, HybridClock
from targets.gossip.membership import Heartbeats
from targets.gossip.messages import (
    TAKE_BACKUP,
    Answer,
    Asked,
    Checkpoint,
    Collected,
    Difference,
    IdRequest,
    Joined,
    KeyState,
    Rumor,
    Summary,
)
from targets.gossip.options import GossipOptions
from targets.gossip.store import KeyStates
from targets.gossip.tombstones import collectable
from targets.gossip.updates import Refusal, delta_of, result_of

ROUND = "round"
WAITING_MAX = 1000
"""Rumors that wait for their causes; beyond, the oldest is dropped: anti-entropy brings it."""


class Parked(msgspec.Struct, frozen=True):
    """A request that waits for what its client has seen, until `round` at the latest."""

    request_id: int
    body: Any
    round: int


class Gossip:
    """Implements targets.core.Core."""

    def __init__(
        self, node: NodeId, members: Sequence[NodeId], options: GossipOptions, bugs: frozenset[str], rng: random.Random
    ) -> None:
        self.node = node
        self.options = options
        self.bugs = bugs
        self.rng = rng
        self.peers = tuple(sorted(set(members) - {node}))
        if planted.NODE_NEVER_REACHED in bugs:
            last = max(members)
            self.peers = () if node == last else tuple(peer for peer in self.peers if peer != last)
        self.states = KeyStates()
        self.clock = HybridClock()
        self.seen = Seen()
        self.owed = Seen()
        self.round = 0
        self.heartbeats = Heartbeats(node, self.peers, options.suspect_rounds)
        self.known: dict[NodeId, Context] = {}
        self.waiting: dict[Dot, Rumor] = {}
        self.parked: list[Parked] = []
        self.records_count = 0
        self.actor: Actor = node
        self.epoch = 0
        self.horizon = EMPTY
        self.returned: set[NodeId] = set()
        """Peers that were suspected, and are heard again, until they have answered once. Only a planted bug asks."""

    def step(self, now_ns: int, event: Event) -> list[Effect]:
        """The effects of one event."""
        match event:
            case Requested():
                return self._on_request(now_ns, event.request_id, event.body)
            case Received(message=Rumor() | Summary() | Difference() as message) if message.epoch != self.epoch:
                return []  # Of the cluster as it was before it was restored.
            case Received(source=source, message=Rumor() as rumor):
                return self._on_rumor(now_ns, source, rumor)
            case Received(message=Summary() as summary):
                return self._on_summary(now_ns, summary)
            case Received(message=Difference() as difference):
                return self._on_difference(now_ns, difference)
            case Received():  # Of mode quorum.
                return []
            case TimerFired(name="round"):
                return self._on_round(now_ns)
            case Started(records=records, damage=damage):
                return self._on_started(records, damage)
            case DiskFailed(reason=reason):
                return [Halt(reason)]
            case SyncDone():
                return []
        raise AssertionError(f"{event!r} is none of its events")

    def status(self) -> dict[str, Any]:
        """What `GET /status` shows. digests: equal on nodes that agree."""
        return {
            "role": "replica",
            "leader": None,
            "mode": self.options.mode,
            "digests": list(self.states.digests),
            "has": msgspec.to_builtins(self.seen.context()),
            "suspected": list(self.heartbeats.suspected),
            "waiting": len(self.waiting),
            "bugs": sorted(self.bugs),
        }

    # --- the disk -----------------------------------------------------------------------------------------------------

    def _on_started(self, records: Sequence[Record], damage: str | None) -> list[Effect]:
        if damage is not None:
            return [Halt(damage)]
        for record in records:
            match record:
                case Joined() | Checkpoint():
                    self._join(record.states, record.has, record.owed, record.latest)
                    if isinstance(record, Checkpoint) and record.actor:
                        self.actor, self.epoch, self.horizon = record.actor, record.epoch, record.horizon
                case Collected(states=states):
                    for key, state in states:
                        self.states.put(key, state)
        self.records_count = len(records)
        first_ms = self.rng.randrange(self.options.gossip_ms) + 1
        return [SetTimer(ROUND, first_ms * NS_PER_MS)]

    def _record(self, record: Joined | Collected) -> list[Effect]:
        """The record, or now and then a checkpoint, which the node's state has already gone into."""
        self.records_count += 1
        if self.records_count < self.options.checkpoint_records:
            return [Persist(record)]
        self.records_count = 1
        return [Persist(self._checkpoint(), is_checkpoint=True)]

    def _checkpoint(self) -> Checkpoint:
        """All that the node has."""
        states = tuple(KeyState(key, state) for key, state in self.states.items())
        has, owed = self.seen.context(), self.owed.context()
        return Checkpoint(states, has, owed, self.clock.latest, self._restored_actor(), self.epoch, self.horizon)

    # --- clients ------------------------------------------------------------------------------------------------------

    def _on_request(self, now_ns: int, request_id: int, body: Any) -> list[Effect]:
        if body.f == TAKE_BACKUP:
            return [Reply(request_id, Answer("ok", node=self.node, backup=backup.take(self._checkpoint())))]
        if self._is_behind(body):
            until = self.round + self.options.wait_rounds
            self.parked.append(Parked(request_id, body, until))
            return []
        return self._serve(now_ns, request_id, body)

    def _is_behind(self, body: Asked) -> bool:
        if self.options.mode == "eventual":
            return False
        if planted.CONTEXT_DROPPED_ON_FAILOVER in self.bugs and body.via != self.node:
            return False
        return not self.seen.covers(backup.alive(body.context, self.epoch, self.horizon))

    def _serve(self, now_ns: int, request_id: int, body: Any) -> list[Effect]:
        if body.f in ("read", "contains"):
            return [Reply(request_id, self._answer(result=result_of(body, self.states.get(body.key))))]
        self.clock.observe(body.latest)
        dot = (self.actor, self.seen.vector.get(self.actor, 0) + 1)
        if isinstance(body, IdRequest):
            return self._generate(request_id, dot)
        stamp = self._stamp(now_ns)
        delta = delta_of(body, self.states.get(body.key), (stamp, self.actor), dot, self.options)
        if isinstance(delta, Refusal):
            return [Reply(request_id, self._answer("refused", reason=delta.reason))]
        deps = self.seen.context()
        if planted.LOST_TOMBSTONE in self.bugs and isinstance(delta, ObservedRemove) and delta.tombstones:
            gone = {stone.added for stone in delta.tombstones}
            held = self.states.get(body.key)
            assert isinstance(held, ObservedRemove)
            left = tuple(element for element in held.elements if element[0] not in gone)
            self.states.put(body.key, ObservedRemove(left, held.tombstones))
            return [Reply(request_id, self._answer())]
        self._join((KeyState(body.key, delta),), Context({}, (dot,)), Context(), stamp)
        own = Context({}, (dot,))
        persist = self._record(Joined((KeyState(body.key, delta),), own, Context(), self.clock.latest))
        reply = Reply(request_id, self._answer())
        rumor = Rumor(self.node, dot, body.key, delta, deps, self.clock.latest, self.epoch)
        told = self._tell(rumor, but=())
        if planted.ACKNOWLEDGED_BEFORE_DURABLE in self.bugs:
            return [reply, *persist, *told]
        return [*persist, reply, *told]

    def _generate(self, request_id: int, dot: Dot) -> list[Effect]:
        """A dot is given to one update only, so it serves as an id. The others hear of it by anti-entropy."""
        own = Context({}, (dot,))
        self._join((), own, Context(), self.clock.latest)
        persist = self._record(Joined((), own, Context(), self.clock.latest))
        reply = Reply(request_id, self._answer(result=f"{dot[0]}-{dot[1]}"))
        return [reply, *persist] if planted.ACKNOWLEDGED_BEFORE_DURABLE in self.bugs else [*persist, reply]

    def _stamp(self, now_ns: int) -> int:
        if planted.LWW_WITHOUT_TIE_BREAK in self.bugs:
            return max(0, now_ns // 1_000_000_000)
        if planted.LWW_BY_WALL_CLOCK in self.bugs:
            return max(0, now_ns // NS_PER_MS) << 16
        return self.clock.stamp(now_ns)

    def _answer(self, status: Any = "ok", *, result: Any = None, reason: str = "") -> Answer:
        if self.options.mode == "eventual":
            members = sorted((*self.peers, self.node))
            ask_next = self.rng.choice(members)
            # The client waits for nothing, but what it writes at the next node must not be older than what it has seen here.
            return Answer(status, result, reason, latest=self.clock.latest, node=self.node, ask_next=ask_next)
        has = Seen(self.seen.context())
        has.join(self.owed.context())
        return Answer(status, result, reason, has.context(), self.clock.latest, self.node)

    def _unpark(self, now_ns: int) -> list[Effect]:
        """Serve whoever waited for what is here now, and send on whoever has waited long enough."""
        effects: list[Effect] = []
        parked, self.parked = self.parked, []
        for each in parked:
            if not self._is_behind(each.body):
                effects += self._serve(now_ns, each.request_id, each.body)
            elif self.round >= each.round:
                effects.append(
                    Reply(each.request_id, self._answer("behind", reason="the node lacks what the client saw"))
                )
            else:
                self.parked.append(each)
        return effects

    # --- joining ------------------------------------------------------------------------------------------------------

    def _join(
        self, states: Sequence[KeyState], has: Context, owed: Context, latest: int, *, replaces: bool = False
    ) -> tuple[KeyState, ...]:
        """Join these states and take over the dots. Returns the states that changed something."""
        changed = []
        for given in states:
            mine = self.states.get(given.key)
            new = given.state if replaces else self._joined(mine, given.state)
            if new != mine:
                changed.append(given)
                self.states.put(given.key, new)
            if isinstance(given.state, ObservedRemove):
                # Its removal is here, so its addition does not matter any more, whenever it arrives.
                for stone in given.state.tombstones:
                    self.seen.add(stone.added)
            self.clock.observe(stamp_of(given.state))
        self.seen.join(has)
        self.owed.join(owed)
        self.clock.observe(latest)
        return tuple(changed)

    def _joined(self, mine: AnyState | None, theirs: AnyState) -> AnyState | None:
        match mine, theirs:
            case (Counter(), Counter()) if planted.COUNTER_MERGED_BY_SUM in self.bugs:
                if len(theirs.added) + len(theirs.taken) == 1:
                    return summed(mine, theirs)
            case (LastWriter(), LastWriter()) if planted.LWW_WITHOUT_TIE_BREAK in self.bugs:
                is_own = node_of(theirs.dot[0]) == self.node
                is_later = theirs.stamp[0] > mine.stamp[0] or (is_own and theirs.stamp[0] == mine.stamp[0])
                return theirs if is_later else mine
        return joined(mine, theirs, self.seen)

    # --- rumors -------------------------------------------------------------------------------------------------------

    def _on_rumor(self, now_ns: int, source: NodeId, rumor: Rumor) -> list[Effect]:
        if rumor.dot in self.seen or rumor.dot in self.waiting:
            return []
        if not self._may_show(rumor):
            self.waiting[rumor.dot] = rumor
            if len(self.waiting) > WAITING_MAX:
                del self.waiting[next(iter(self.waiting))]
            return []
        return [*self._take(rumor, source), *self._catch_up(now_ns)]

    def _may_show(self, rumor: Rumor) -> bool:
        if self.options.mode != "causal" or planted.DELIVERED_BEFORE_CAUSES in self.bugs:
            return True
        return self.seen.covers(rumor.deps)

    def _take(self, rumor: Rumor, source: NodeId) -> list[Effect]:
        states, has = (KeyState(rumor.key, rumor.delta),), Context({}, (rumor.dot,))
        owed = rumor.deps if self.options.mode == "session" else Context()
        self._join(states, has, owed, rumor.latest)
        persist = self._record(Joined(states, has, owed, self.clock.latest))
        passed_on = msgspec.structs.replace(rumor, source=self.node)
        return [*persist, *self._tell(passed_on, but=(source, node_of(rumor.dot[0])))]

    def _catch_up(self, now_ns: int) -> list[Effect]:
        """Show every rumor whose causes are here now, and serve whoever waited."""
        effects: list[Effect] = []
        has_moved = True
        while has_moved:
            has_moved = False
            for dot, rumor in list(self.waiting.items()):
                if dot in self.seen:
                    del self.waiting[dot]
                elif self._may_show(rumor):
                    del self.waiting[dot]
                    effects += self._take(rumor, rumor.source)
                    has_moved = True
        return [*effects, *self._unpark(now_ns)]

    def _tell(self, rumor: Rumor, but: Sequence[NodeId]) -> list[Effect]:
        others = [peer for peer in self.peers if peer not in but and peer not in self.heartbeats.suspected]
        chosen = self.rng.sample(others, min(self.options.fanout, len(others)))
        return [Send(peer, rumor) for peer in chosen]

    # --- anti-entropy -------------------------------------------------------------------------------------------------

    def _on_round(self, now_ns: int) -> list[Effect]:
        self.round += 1
        self.heartbeats.beat()
        effects: list[Effect] = [SetTimer(ROUND, self.options.gossip_ms * NS_PER_MS), *self._collect()]
        peer = self.heartbeats.choose(self.rng)
        if peer is not None:
            effects.append(Send(peer, self._summary(is_answer=False)))
        return [*effects, *self._unpark(now_ns)]

    def _summary(self, *, is_answer: bool) -> Summary:
        digests = tuple(self._digests())
        return Summary(
            self.node,
            is_answer,
            digests,
            self.seen.context(),
            dict(self.heartbeats.beats),
            self.clock.latest,
            self.epoch,
            self._restored_actor(),
        )

    def _restored_actor(self) -> Actor:
        """What the node is called since it was restored; "" where it never was."""
        return "" if self.actor == self.node else self.actor

    def _digests(self) -> list[int]:
        if planted.DIGEST_SKIPS_RANGES in self.bugs:
            return [digest if number % 2 else 0 for number, digest in enumerate(self.states.digests)]
        return self.states.digests

    def _on_summary(self, now_ns: int, summary: Summary) -> list[Effect]:
        if summary.source not in self.peers:
            return []
        self._hear(summary.source, summary.has, summary.beats, summary.latest)
        mine = self._digests()
        if len(summary.digests) != len(mine):
            return []
        ranges = tuple(number for number, digest in enumerate(summary.digests) if digest != mine[number])
        answer = Difference(
            self.node,
            self.states.in_ranges(ranges),
            self.seen.context(),
            self.owed.context(),
            dict(self.heartbeats.beats),
            self.clock.latest,
            ranges,
            self.epoch,
            summary.actor,
        )
        effects: list[Effect] = [Send(summary.source, answer)]
        if not summary.is_answer and (ranges or not self.seen.covers(summary.has)):
            effects.append(Send(summary.source, self._summary(is_answer=True)))
        return effects

    def _on_difference(self, now_ns: int, difference: Difference) -> list[Effect]:
        if difference.source not in self.peers or difference.to != self._restored_actor():
            return []
        self._hear(difference.source, difference.has, difference.beats, difference.latest)
        replaces = planted.OWN_WRITE_HIDDEN in self.bugs and difference.source in self.returned
        self.returned.discard(difference.source)
        forgotten = self._forget_removed(difference)
        is_news = not (self.seen.covers(difference.has) and self.owed.covers(difference.owed))
        changed = self._join(difference.states, difference.has, difference.owed, difference.latest, replaces=replaces)
        if not changed and not is_news:
            return forgotten
        if replaces:
            record: Joined | Collected = Collected(tuple((given.key, given.state) for given in changed))
        else:
            record = Joined(changed, difference.has, difference.owed, self.clock.latest)
        return [*forgotten, *self._record(record), *self._catch_up(now_ns)]

    def _forget_removed(self, difference: Difference) -> list[Effect]:
        """A node that was given old data back may hold what was removed since, and whose tombstone nobody has any more."""
        if self.actor == self.node:
            return []
        replaced = backup.removed_since(self.states.in_ranges(difference.ranges), difference)
        for key, state in replaced:
            self.states.put(key, state)
        return self._record(Collected(replaced)) if replaced else []

    def _hear(self, source: NodeId, has: Context, beats: dict[NodeId, int], latest: int) -> None:
        self.known[source] = has
        if source in self.heartbeats.suspected:
            self.returned.add(source)
        self.heartbeats.hear(source, beats)
        self.clock.observe(latest)

    def _collect(self) -> list[Effect]:
        """Forget the tombstones that everybody has."""
        is_early = planted.TOMBSTONE_COLLECTED_EARLY in self.bugs
        replaced = collectable(self.states.items(), self.seen, self.known, self.peers, is_early=is_early)
        for key, state in replaced:
            self.states.put(key, state)
        return self._record(Collected(replaced)) if replaced else []
