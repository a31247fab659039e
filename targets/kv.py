"""The client side of interface "kv": operations to request bodies, answers and their absence to outcomes.

The rule, by operation: a read has no effect, so one that was not answered has failed. A write or a cas that may have
reached a leader is indeterminate unless the answer says otherwise.
"""

from __future__ import annotations

import msgspec

from targets.machines.kv import FS, KvCommand, KvReply
from targets.target import Call, NoReply, Outcome, Redirect

__all__ = ["FS", "KvClient", "KvCommand", "KvReply"]


class KvClient:
    """Client of a target whose bodies are KvCommand and KvReply."""

    def request(self, call: Call) -> KvCommand:
        """The body for `call`: f read, write or cas (value [old, new]).

        Raises ValueError when f is another, or the value does not fit it.
        """
        match call.f:
            case "read":
                return KvCommand("read", call.key)
            case "write" | "cas":
                return KvCommand(call.f, call.key, call.value)
            case _:
                raise ValueError(f"a kv client does {', '.join(FS)}, not {call.f!r}")

    def outcome(self, call: Call, reply: msgspec.Struct | NoReply) -> Outcome | Redirect:
        """How `call` ended; its value is that of the call, or what an ok read saw."""
        if isinstance(reply, NoReply):
            has_failed = call.f == "read" or reply.why == "not-sent"
            return Outcome("fail" if has_failed else "info", call.value, _error(reply))
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
                refused = Outcome("fail", call.value, "not-leader" if reply.leader else "no-leader")
                return Redirect(reply.leader, refused) if reply.leader else refused


def _error(reply: NoReply) -> str | list[str]:
    return [reply.why, reply.detail] if reply.detail else reply.why
