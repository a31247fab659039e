"""What happened: operations, histories, their file formats, and the rules they obey.

The names below are imported when they are first used: a node imports `histories.tracing` alone, and has to start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from histories.builder import h
    from histories.files import load
    from histories.history import History
    from histories.loaded import Format, Loaded
    from histories.op import NEMESIS, Op, OpType, Process, freeze
    from histories.tracing import TraceRecord
    from histories.wellformed import MalformedHistory, Problem, problems

__all__ = [
    "NEMESIS",
    "Format",
    "History",
    "Loaded",
    "MalformedHistory",
    "Op",
    "OpType",
    "Problem",
    "Process",
    "TraceRecord",
    "freeze",
    "h",
    "load",
    "problems",
]

_HOMES = {
    "builder": ("h",),
    "files": ("load",),
    "history": ("History",),
    "loaded": ("Format", "Loaded"),
    "op": ("NEMESIS", "Op", "OpType", "Process", "freeze"),
    "tracing": ("TraceRecord",),
    "wellformed": ("MalformedHistory", "Problem", "problems"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
