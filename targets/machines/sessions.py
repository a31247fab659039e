"""Exactly-once: a machine that carries each command of a client out once, however often it stands in the log (thesis §6.3).

A client opens a session, which is a command like any other: its result is the session's number. The client then numbers its
commands, one at a time, and sends a command again under the number that it had. The state holds, for each session, the last number
and how that command was answered. All of this is part of the replicated state, and so of its snapshots.

There are at most so many sessions: opening one more ends the one that was used least lately, by the log and not by any clock, so
that all replicas end the same. Who comes with a session that was ended is refused. It cannot know how a command ended that it had
sent before.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from targets.machines.machine import Command, Machine, Refused

SESSION_ENDED = "session-ended"
NUMBER_PAST = "number-past"

C = TypeVar("C")


class OpenSession(Command, frozen=True, tag="open-session"):
    """A new session; the result is its number, from 1."""


class InSession(Command, Generic[C], frozen=True, kw_only=True, tag="in-session"):
    """`command` is carried out, unless it was. number: of the command in its session, higher than those before it."""

    session: int
    number: int
    command: C


EXPIRED = Refused(SESSION_ENDED)
_PAST = Refused(NUMBER_PAST)


class SessionMachine:
    """Implements targets.machines.machine.Machine around another: it takes OpenSession, InSession, and the other's commands, which
    have no session.

    sessions_max: at least 1. checks_numbers, snapshots_answers: false only under the planted bugs retry-applied-twice and
    snapshot-drops-session.
    """

    result_type: ClassVar[Any] = Any

    __slots__ = (
        "_checks_numbers",
        "_last",
        "_machine",
        "_opened_count",
        "_sessions_max",
        "_snapshots_answers",
        "command_type",
        "name",
    )

    def __init__(
        self, machine: Machine, sessions_max: int, *, checks_numbers: bool = True, snapshots_answers: bool = True
    ) -> None:
        self.name = machine.name
        self.command_type = machine.command_type
        self._machine = machine
        self._sessions_max = sessions_max
        self._checks_numbers = checks_numbers
        self._snapshots_answers = snapshots_answers
        self._opened_count = 0
        self._last: dict[int, tuple[int, Any]] = {}
        """Session -> (number of its last command, the result), the session that was used least lately first."""

    def apply(self, command: Any) -> Any:
        """The result of the command; of one that was carried out before, the result that it had then."""
        if command.__class__ is InSession:
            return self._apply_once(command)
        if command.__class__ is OpenSession:
            return self._open()
        return self._machine.apply(command)

    def query(self, command: Any) -> Any:
        """The other machine's."""
        return self._machine.query(command)

    def snapshot(self) -> Any:
        """{"machine": the other's, "opened_count", "sessions": rows [session, last number, result, reason of a refusal]}."""
        sessions = []
        for session, (number, result) in self._last.items():
            if not self._snapshots_answers:
                number, result = 0, None
            is_refusal = result.__class__ is Refused
            sessions.append([session, number, None if is_refusal else result, result.reason if is_refusal else None])
        return {"machine": self._machine.snapshot(), "opened_count": self._opened_count, "sessions": sessions}

    def restore(self, snapshot: Any) -> None:
        """The state is that of the snapshot, sessions included."""
        self._machine.restore(snapshot["machine"])
        self._opened_count = snapshot["opened_count"]
        self._last = {
            session: (number, result if reason is None else Refused(reason))
            for session, number, result, reason in snapshot["sessions"]
        }

    def skip_sessions(self, count: int) -> None:
        """The next session's number is so much higher: none that was opened since this state was saved is given a second time."""
        self._opened_count += count

    def _open(self) -> int:
        self._opened_count += 1
        if len(self._last) >= self._sessions_max:
            del self._last[next(iter(self._last))]
        self._last[self._opened_count] = (0, None)
        return self._opened_count

    def _apply_once(self, command: InSession[Any]) -> Any:
        session, number = command.session, command.number
        last = self._last.pop(session, None)
        if last is None:
            return EXPIRED
        self._last[session] = last  # The one that was used last stands last.
        if self._checks_numbers and number <= last[0]:
            return last[1] if number == last[0] else _PAST
        result = self._machine.apply(command.command)
        self._last[session] = (number, result)
        return result


def session_commands(command_type: Any) -> Any:
    """The union of `command_type` with what sessions add to it."""
    in_session: Any = InSession
    return command_type | OpenSession | in_session[command_type]
