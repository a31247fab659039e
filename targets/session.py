"""The client's side of a target that is a core: one session for each process, without I/O like the core.

An op becomes a sequence of questions. `begin` gives the first `Ask`, `on_reply` takes each answer, or its absence, and gives the
next Ask or the `Outcome`. Redirects, retries under a client id, the steps of a transaction over several shards: all are Asks. What
a client carries from one op to the next (the last index it saw, a causal context) is the session's own state.

The harness promises (harness/clients/sessions.py), in the simulation and over HTTP:

1. One session serves one process, and one op at a time. A process whose op ended `info` is never used again; the process that
   takes its place has a fresh session.
2. Every Ask is answered exactly once: by a reply, or by NoReply. A reply that arrives later is dropped.
3. One time-out covers the whole op. When it has passed, the session is told NoReply("timeout"); the harness does not carry an Ask
   in answer to that, and the op is `info`. A single Ask may say how long it waits: after that the session is told NoReply("late"),
   and may ask elsewhere; what was asked may still happen.
4. The number of Asks for one op is bounded. A session that goes beyond it is wrong, and ends the run as a failure of the harness.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from targets.core import NodeId


class Call(msgspec.Struct, frozen=True):
    """What a client wants done: an operation without its history fields."""

    f: str
    key: Any = None
    value: Any = None


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended. `info` whenever it may have happened: when in doubt, indeterminate is the safe answer.

    is_refused: the op failed because the cluster's state forbids it, as when a lock is held. The cluster has then served the
    client.
    """

    type: Literal["ok", "fail", "info"]
    value: Any = None
    error: Any = None
    is_refused: bool = False


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Put `body`, a Struct of the target's `request_type`, to `node`; None: to the process's home node.

    A node that does not exist answers NoReply("not-sent"). patience_s: so long the answer may take, else it is NoReply("late");
    None: as long as the op may. pause_s: it is put so much later; the op's time runs on.
    """

    body: msgspec.Struct
    node: NodeId | None = None
    patience_s: float | None = None
    pause_s: float = 0.0


class NoReply(msgspec.Struct, frozen=True):
    """No answer came. not-sent: it certainly never reached the node (connection refused); else nobody knows. timeout: the time of
    the op has passed; late: that of the Ask."""

    why: Literal["not-sent", "timeout", "late", "reset", "bad-reply"]
    detail: str = ""

    @property
    def error(self) -> str | list[str]:
        """The reason as an op's `error` gives it."""
        return [self.why, self.detail] if self.detail else self.why


class Session(Protocol):
    """One process's conversation with the cluster. Plain code: no I/O, no clock, and only the randomness that it was given."""

    def begin(self, call: Call) -> Ask | Outcome:
        """The first question of this op, or its outcome where it needs no question.

        Raises ValueError for a call that the interface does not have; such a call ends the run as a failure of the harness.
        """
        ...

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """The next question, or the outcome, after the answer to the last Ask."""
        ...
