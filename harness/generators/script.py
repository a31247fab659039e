"""Scripts as data: which client asks for what, and when. They are the clients' side of a run, as a schedule is the nemesis's side.

A run under a script does these ops and no others, so that a failing run can be made smaller op by op (`themis shrink`). A script is
taken from a recorded history, saved with the run as script.json, and read from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.generators.core import NOTHING, Generator, Invocation
from harness.generators.threads import any_of, on_threads
from histories.history import History
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.op import Op
from histories.printing import line
from histories.whole_file import read_whole

VERSION = 1


class ScriptedOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One op of a client. time_ns: not before this, in ns since the run began; when the client is busy then, as soon as it is free.
    thread: which client, from 0. is_final: after the heal and the quiet period, with the final reads; the time counts no more."""

    time_ns: int
    thread: int
    f: str
    key: Any = None
    value: Any = None
    is_final: bool = False

    def __post_init__(self) -> None:
        if self.time_ns < 0 or self.thread < 0:
            raise ValueError("time_ns and thread are not negative")


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Client ops in order of time; those of one client are done in this order. version: of the file format."""

    version: int = VERSION
    ops: tuple[ScriptedOp, ...]

    def generator(self, *, final: bool) -> Generator:
        """The ops of the main phase, or the final ones."""
        by_thread: dict[int, list[Invocation]] = {}
        for op in self.ops:
            if op.is_final == final:
                time = None if final else op.time_ns
                by_thread.setdefault(op.thread, []).append(Invocation(op.f, key=op.key, value=op.value, time=time))
        return any_of(*(on_threads([thread], ops) for thread, ops in by_thread.items())) if by_thread else NOTHING

    def only(self, keeps: Callable[[ScriptedOp], bool]) -> Script:
        """The same script with only the ops that `keeps` wants."""
        return msgspec.structs.replace(self, ops=tuple(filter(keeps, self.ops)))


def recorded(history: History, concurrency: int, main_phase_ns: int) -> Script:
    """The script of what clients asked for in `history`, of a run with that many clients and that time limit.

    Its final ops are those that follow both the time limit and the last fault op, which is the heal.
    """
    healed_ns = max((op.time for op in history.nemesis()), default=0)
    final_ns = max(healed_ns, main_phase_ns)
    return Script(ops=tuple(_scripted(op, concurrency, final_ns) for op in _invocations(history)))


def _invocations(history: History) -> Iterable[Op]:
    return (op for op in history if op.is_client and op.type == "invoke")


def _scripted(op: Op, concurrency: int, final_ns: int) -> ScriptedOp:
    assert isinstance(op.process, int), "clients have numbers"
    return ScriptedOp(
        time_ns=op.time,
        thread=op.process % concurrency,
        f=op.f,
        key=op.key,
        value=op.value,
        is_final=op.time >= final_ns,
    )


def encode(script: Script) -> bytes:
    """The script as the text of a file."""
    return msgspec.json.format(msgspec.json.encode(script), indent=1) + b"\n"


def load(path: Path, concurrency: int) -> Script:
    """The script in `path`, for a run with that many clients. Raises UsageError that says what is wrong, and where."""
    try:
        script = decoded(msgspec.json.Decoder(Script).decode, read_whole(path), FILE_DEPTH_MAX)
    except OSError as error:
        raise UsageError(f"the script {path} cannot be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a script of client ops: {line(error)}") from error
    if script.version != VERSION:
        raise UsageError(f"{path}: format version {script.version}; this themis reads version {VERSION}")
    check(script, concurrency, str(path))
    return script


def check(script: Script, concurrency: int, where: str) -> None:
    """Raises UsageError for the first op that is out of order, or of a client that the run does not have."""
    last_ns = 0
    for number, op in enumerate(script.ops):
        if op.thread >= concurrency:
            raise UsageError(f"{where}: op {number}: thread {op.thread}, and the run has {concurrency} clients, from 0")
        if op.time_ns < last_ns:
            raise UsageError(f"{where}: op {number}: time_ns {op.time_ns} is before that of the op above it, {last_ns}")
        last_ns = op.time_ns
