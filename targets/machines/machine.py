"""What a core replicates: a state machine. It knows nothing of replication, and the core knows only its commands.

A machine is deterministic: the same commands in the same order give the same results and the same state on every node. It has no
I/O, clock or randomness, and never iterates a set. It holds many independent objects, each under its key. Its name is the
*interface* that a workload asks of a target; its commands are the bodies of the client route POST /<interface>, and its results
come back in an `Answer`.

Writing your own takes one class with these members and one line in targets/machine_registry.py, or entry point group
`themis.machines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import msgspec

Key = str | int | None
"""None: the only object of a workload that has one."""

Element = str | int
"""What sets and queues hold."""

R = TypeVar("R")


class Command(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
    tag_field="f",
):
    """What a client asks, and what a log entry carries. Each is a subclass with a tag, the operation's `f`.

    Its fields are those of the history's op: `key` and, where the operation takes one, `value` (then the class is made with
    kw_only=True, since `key` has a default). The types of the fields and `__post_init__` say all that makes a command legal: a
    command that was decoded can be applied in every state.
    """

    key: Key = None

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing, in any state."""
        return False


class ReadCommand(Command, frozen=True):
    """A command that changes nothing."""

    @property
    def is_read(self) -> bool:
        """A command of this class is a read."""
        return True


class TakeBackup(ReadCommand, frozen=True, tag="take-backup"):
    """The whole state, as a read would see it. It is the core's affair (targets/raft/backup.py, say): no machine gets it."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The result of a command that certainly changed nothing, because the state forbids it. reason: a word or two."""

    reason: str


class Machine(Protocol):
    """One replica's state. Built without arguments, in the initial state."""

    name: ClassVar[str]
    command_type: ClassVar[Any]
    """The Command, or the union of Commands, that it takes."""
    result_type: ClassVar[Any]
    """What a result can be, besides None and Refused."""

    def apply(self, command: Any) -> Any:
        """The result of the next command, JSON-like; None where there is nothing to tell; Refused where the state forbids it.

        A read gives what `query` gives.
        """
        ...

    def query(self, command: Any) -> Any:
        """The result of a read. Changes nothing."""
        ...

    def snapshot(self) -> Any:
        """The whole state, JSON-like; later commands do not change it."""
        ...

    def restore(self, snapshot: Any) -> None:
        """The state is that of the `snapshot`, which another replica may have taken, and which may have been written as JSON
        since."""
        ...


class MachineFailed(Exception):
    """A machine raised: the machine is wrong, and neither the replication nor the cluster is to blame."""

    def __init__(self, machine: Machine, command: Any, error: Exception) -> None:
        super().__init__(f"machine {machine.name!r} raised on {command!r:.500}: {type(error).__name__}: {error}")


def apply(machine: Machine, command: Any) -> Any:
    """The result of `machine.apply`. Raises MachineFailed for whatever it raises; nobody may use the state after that."""
    try:
        return machine.apply(command)
    except Exception as error:
        raise MachineFailed(machine, command, error) from error


def apply_all(machine: Machine, commands: Sequence[Any]) -> None:
    """Apply each command in order, where nobody needs the results. Raises MachineFailed as `apply` does."""
    one = machine.apply
    done = 0
    try:
        for done, command in enumerate(commands):  # noqa: B007 (read when it raises)
            one(command)
    except Exception as error:
        raise MachineFailed(machine, commands[done], error) from error


def query(machine: Machine, command: Any) -> Any:
    """The result of `machine.query`. Raises MachineFailed for whatever it raises."""
    try:
        return machine.query(command)
    except Exception as error:
        raise MachineFailed(machine, command, error) from error


class Answer(msgspec.Struct, Generic[R], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """How a client's request ended.

    ok: done; `result` is the machine's. refused: the machine refused it, for `reason`, and nothing changed. not-leader: certainly
    not done here, and never will be; `leader` is the node to ask, where this node knows it. unknown: the node stopped leading
    before it learned the fate of the command, which may still be carried out. superseded: certainly not done: another command was
    committed in its place. backup: the answer to TakeBackup, a JSON text.
    """

    status: Literal["ok", "refused", "not-leader", "unknown", "superseded"]
    result: R | None = None
    reason: str | None = None
    leader: str | None = None
    backup: str = ""


def answer_with(result: Any) -> Answer[Any]:
    """The answer to a command that was carried out with this result."""
    if result is None:
        return DONE
    return Answer("refused", reason=result.reason) if result.__class__ is Refused else Answer("ok", result)


DONE: Answer[Any] = Answer("ok")


def answer_type(machine: type[Machine], *others: Any) -> Any:
    """The type of the answers of this machine, where a result may also be of the `others`."""
    generic: Any = Answer
    result_type = machine.result_type
    for other in others:
        result_type = result_type | other
    return generic[result_type]
