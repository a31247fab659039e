"""The client's side of a target written as a core: one session for each process, sans-IO as the core is.

An op becomes a sequence of questions. `begin` gives the first `Ask`, `on_reply` takes each answer, or its absence, and gives the
next Ask or the `Outcome`. Redirects, retries under a client id, the steps of a transaction over several shards: all are Asks. What
a client carries from one op to the next (the last index it saw, a causal context) is the session's own state.

The harness promises (harness/clients/sessions.py), in the simulation as over HTTP:

1. One session serves one process, and one op at a time. A process whose op ended `info` is never used again; the process that
   takes its place has a fresh session.
2. Every Ask is answered exactly once: by a reply, or by NoReply. What arrives later is dropped.
3. One time-out covers the whole op. When it has passed, the session is told NoReply("timeout"); an Ask in answer to that is
   not carried any more, and the op is `info`.
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

    is_refused: a `fail` by which the cluster served: its state forbade the op, as a lock that is held forbids to acquire it.
    """

    type: Literal["ok", "fail", "info"]
    value: Any = None
    error: Any = None
    is_refused: bool = False


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Put `body`, a Struct of the target's `request_type`, to `node`; None: to the process's home node.

    A node that does not exist answers NoReply("not-sent").
    """

    body: msgspec.Struct
    node: NodeId | None = None


class NoReply(msgspec.Struct, frozen=True):
    """No answer came. not-sent: it certainly never reached the node (connection refused); else nobody knows."""

    why: Literal["not-sent", "timeout", "reset", "bad-reply"]
    detail: str = ""

    @property
    def error(self) -> str | list[str]:
        """As an op's `error` tells it."""
        return [self.why, self.detail] if self.detail else self.why


class Session(Protocol):
    """One process's conversation with the cluster. Plain code: no I/O, no clock, no randomness but what it was given."""

    def begin(self, call: Call) -> Ask | Outcome:
        """The first question of this op, or its outcome where nothing need be asked.

        Raises ValueError for a call that the interface does not have; such a call ends the run as a failure of the harness.
        """
        ...

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """What follows from the answer to the last Ask."""
        ...
