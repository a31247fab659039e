"""When which fault was in force, as the history's nemesis ops tell. No judgement here.

A window is opened by an op whose f is `kill`, `pause` or begins with `start-`, and closed by its counterpart: `start`,
`resume`, `stop-...`, or `heal`, which closes all. An op of any other f (restart-all, corrupt) is a window by itself,
from its invocation to its completion. Only what completed opens one; what was skipped does not.

Counterparts that name nodes (`did: {"nodes": [...]}`) close the windows of these nodes only. Opening a fault that names
no nodes again replaces it, as a new partition replaces the old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from histories.history import History
from histories.op import NEMESIS, Op

Status = Literal["installed", "indeterminate", "unmeasured"]

_CLOSED_BY = {"kill": "start", "pause": "resume"}
_CLOSERS = frozenset(_CLOSED_BY.values())
_HEAL = "heal"


class Window(msgspec.Struct, frozen=True):
    """One fault in force.

    f: of the op that opened it. index: of that op's completion. did: what exactly was done, as recorded.
    status: as the opening op completed; "unmeasured" when the recorder kept no evidence (Jepsen's histories).
    asked_ns <= installed_ns: invocation and completion of the opening op. lifting_ns <= lifted_ns: of the closing one;
    None when it was still in force at the end. The fault was certainly in force from installed_ns to lifting_ns only.
    nodes: those that it was done to; None when the op names none.
    """

    f: str
    index: int
    status: Status
    did: Any
    asked_ns: int
    installed_ns: int
    lifting_ns: int | None = None
    lifted_ns: int | None = None
    nodes: frozenset[str] | None = None


def fault_windows(history: History) -> list[Window]:
    """The windows of all faults that were installed or may have been, in order of opening."""
    windows: list[Window] = []
    open_by_closer: dict[str, list[int]] = {}
    for invocation, completion in nemesis_ops(history):
        status = status_of(completion)
        if is_closing(completion.f):
            if status != "indeterminate":
                closers = list(open_by_closer) if completion.f == _HEAL else [completion.f]
                for closer in closers:
                    open_by_closer[closer] = _close(windows, open_by_closer.get(closer, []), invocation, completion)
            continue
        if status == "skipped":
            continue
        window = Window(
            completion.f,
            completion.index,
            status,
            _did(completion),
            invocation.time,
            completion.time,
            nodes=_nodes(completion),
        )
        if (closer_f := _closer(completion.f)) is None:
            begin_ns, end_ns = invocation.time, completion.time
            windows.append(replace(window, installed_ns=begin_ns, lifting_ns=end_ns, lifted_ns=end_ns))
            continue
        still_open = open_by_closer.get(closer_f, [])
        if window.nodes is None:
            still_open = _close(windows, still_open, invocation, completion)
        open_by_closer[closer_f] = [*still_open, len(windows)]
        windows.append(window)
    return windows


def nemesis_ops(history: History) -> Iterator[tuple[Op, Op]]:
    """Each completed fault op with its invocation, in order of completion.

    Jepsen's nemesis invokes and completes with `info` both: there the second of two with one f is the completion.
    """
    invocation: Op | None = None
    for op in history:
        if op.process != NEMESIS:
            continue
        if op.type == "invoke" or invocation is None or invocation.f != op.f:
            invocation = op
        else:
            yield invocation, op
            invocation = None


def is_closing(f: str) -> bool:
    """Whether an op of this f ends a fault."""
    return f in _CLOSERS or f == _HEAL or f.startswith("stop-")


def status_of(completion: Op) -> Status | Literal["skipped"]:
    """How the completed fault op says it went."""
    if not isinstance(completion.value, Mapping):
        return "unmeasured"
    match completion.value.get("status"):
        case "installed":
            return "installed"
        case "indeterminate":
            return "indeterminate"
        case "skipped":
            return "skipped"
        case _:
            return "unmeasured"


def _closer(f: str) -> str | None:
    """The f that closes what f opens; None when f opens nothing lasting."""
    return "stop-" + f.removeprefix("start-") if f.startswith("start-") else _CLOSED_BY.get(f)


def _close(windows: list[Window], opened: list[int], invocation: Op, completion: Op) -> list[int]:
    """Close the windows at the `opened` positions, those of the named nodes only; the positions of what stays open."""
    nodes = _nodes(completion) if is_closing(completion.f) else None
    still_open: list[int] = []
    for position in opened:
        window = windows[position]
        if nodes is not None and window.nodes is not None and not window.nodes <= nodes:
            still_open.append(position)
        else:
            windows[position] = replace(window, lifting_ns=invocation.time, lifted_ns=completion.time)
    return still_open


def _did(completion: Op) -> Any:
    return completion.value.get("did") if isinstance(completion.value, Mapping) else completion.value


def _nodes(completion: Op) -> frozenset[str] | None:
    did = _did(completion)
    named = did.get("nodes") if isinstance(did, Mapping) else did
    is_list_of_names = isinstance(named, list | tuple) and all(isinstance(node, str) for node in named)
    return frozenset(named) if is_list_of_names and named else None
