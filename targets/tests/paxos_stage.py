"""A stage for Paxos cores: nodes, one queue of messages in the order in which they were sent, and disks, all moved by hand.

A node's effects are performed at once: what it persists is durable before what it says next is heard. `stop_at` lets a node die in
the middle of a step instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from histories.tracing import TraceEvent
from targets.core import (
    CancelTimer,
    Core,
    Effect,
    Event,
    Halt,
    Message,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    TimerFired,
    Trace,
)

Letter = tuple[NodeId, NodeId, Message]
"""source, destination, message"""


class Stage:
    """letters: what is under way. disks: what each node persisted. replies: request id -> its body. traces: (node, event).

    timers: those that are set, by node: name -> delay in ns. down: nodes that do not run. now_ns: what every clock says.
    """

    def __init__(self, nodes: Iterable[NodeId], build: Callable[[NodeId], Core]) -> None:
        self._build = build
        self.cores: dict[NodeId, Core] = {}
        self.letters: deque[Letter] = deque()
        self.disks: dict[NodeId, list[Record]] = {node: [] for node in nodes}
        self.replies: dict[int, Any] = {}
        self.traces: list[tuple[NodeId, TraceEvent]] = []
        self.timers: dict[NodeId, dict[str, int]] = {node: {} for node in self.disks}
        self.halted: dict[NodeId, str] = {}
        self._requests_count = 0
        self.now_ns = 0
        for node in self.disks:
            self.start(node)

    @property
    def down(self) -> set[NodeId]:
        """Nodes that do not run."""
        return set(self.disks) - set(self.cores)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, node: NodeId, damage: str | None = None) -> None:
        """A new process on what the node persisted."""
        self.cores[node] = self._build(node)
        self.timers[node] = {}
        self.step(node, Started(tuple(self.disks[node]), damage))

    def crash(self, *nodes: NodeId) -> None:
        """These processes are gone; their letters that are under way arrive all the same."""
        for node in nodes:
            del self.cores[node]
            self.timers[node] = {}

    def restart(self, *nodes: NodeId) -> None:
        """Each is gone, and there again."""
        for node in nodes:
            if node in self.cores:
                self.crash(node)
            self.start(node)

    # --- events ---------------------------------------------------------------------------------------------------

    def step(self, node: NodeId, event: Event) -> list[Effect]:
        """The node takes the event; all of its effects are performed."""
        effects = list(self.cores[node].step(self.now_ns, event))
        for effect in effects:
            match effect:
                case Send():
                    self.letters.append((node, effect.to, effect.message))
                case Persist():
                    if effect.is_checkpoint:
                        self.disks[node].clear()
                    self.disks[node].append(effect.record)
                case Reply():
                    assert effect.request_id not in self.replies, "a request is answered once"
                    self.replies[effect.request_id] = effect.body
                case SetTimer():
                    self.timers[node][effect.name] = effect.delay_ns
                case CancelTimer():
                    self.timers[node].pop(effect.name, None)
                case Trace():
                    self.traces.append((node, effect.event))
                case Halt():
                    self.halted[node] = effect.reason
        return effects

    def ask(self, node: NodeId, body: Any) -> int:
        """A client asks; returns the number of its request."""
        self._requests_count += 1
        self.step(node, Request(self._requests_count, body))
        return self._requests_count

    def fire(self, node: NodeId, name: str) -> None:
        """A timer that is set is due."""
        del self.timers[node][name]
        self.step(node, TimerFired(name))

    def deliver(self, wanted: Callable[[Letter], bool] = lambda _letter: True) -> int:
        """Deliver what is under way and wanted, and what is sent meanwhile and wanted; the rest stays. Returns how many."""
        count = 0
        kept: list[Letter] = []
        while self.letters:
            letter = self.letters.popleft()
            if not wanted(letter):
                kept.append(letter)
                continue
            self.hand_over(letter)
            count += 1
        self.letters.extend(kept)
        return count

    def hand_over(self, letter: Letter) -> None:
        """This letter arrives, once more perhaps; nothing where its receiver is down."""
        source, to, message = letter
        if to in self.cores:
            self.step(to, Received(source, message))

    def lose(self, wanted: Callable[[Letter], bool] = lambda _letter: True) -> list[Letter]:
        """These letters are lost; returns them, so that they may come late."""
        lost = [letter for letter in self.letters if wanted(letter)]
        self.letters = deque(letter for letter in self.letters if not wanted(letter))
        return lost

    # --- what is known ----------------------------------------------------------------------------------------------

    def told(self, kind: type) -> list[tuple[NodeId, Any]]:
        """(node, event) of each trace of this kind."""
        return [(node, event) for node, event in self.traces if isinstance(event, kind)]


def among(*nodes: NodeId) -> Callable[[Letter], bool]:
    """Letters from and to these nodes only."""
    return lambda letter: letter[0] in nodes and letter[1] in nodes


def of_type(*types: type) -> Callable[[Letter], bool]:
    """Letters with such messages."""
    return lambda letter: isinstance(letter[2], types)
