"""The client side of interface "kv": operations to request bodies, answers and their absence to outcomes.

The rule, by operation: a read has no effect, so one that was not answered has failed. A write or a cas that may have
reached a leader is indeterminate unless the answer says otherwise.
"""

from __future__ import annotations

import msgspec

from targets.machines.kv import FS, KvCommand, KvReply
from targets.session import Ask, Call, NoReply, Outcome

REDIRECTS_MAX = 3


class KvSession:
    """Session of a target whose bodies are KvCommand and KvReply."""

    def begin(self, call: Call) -> Ask:
        """Ask the home node. f is read, write or cas (value [old, new])."""
        self._call = call
        self._redirects_count = 0
        match call.f:
            case "read":
                self._body = KvCommand("read", call.key)
            case "write" | "cas":
                self._body = KvCommand(call.f, call.key, call.value)
            case _:
                raise ValueError(f"a kv client does {', '.join(FS)}, not {call.f!r}")
        return Ask(self._body)

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """How the op ended; its value is that of the call, or what an ok read saw. Who does not lead names who does."""
        call = self._call
        if isinstance(reply, NoReply):
            has_failed = call.f == "read" or reply.why == "not-sent"
            return Outcome("fail" if has_failed else "info", call.value, reply.error)
        assert isinstance(reply, KvReply)
        match reply.status:
            case "ok":
                return Outcome("ok", reply.value if call.f == "read" else call.value)
            case "mismatch":
                return Outcome("fail", call.value, "cas-mismatch")
            case "superseded":
                return Outcome("fail", call.value, "superseded")
            case "unknown":
                return Outcome("fail" if call.f == "read" else "info", call.value, "unknown")
            case "not-leader":
                if reply.leader is None or self._redirects_count == REDIRECTS_MAX:
                    return Outcome("fail", call.value, "not-leader" if reply.leader else "no-leader")
                self._redirects_count += 1
                return Ask(self._body, reply.leader)
