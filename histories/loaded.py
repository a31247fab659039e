"""What reading a history file gives: the history, and what a checker must know about the file it came from."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from histories.history import History

Format = Literal["jsonl", "edn", "json", "jepsen-log", "kv-log", "sessions", "dbcop"]
"""The file formats that histories.files reads."""


class Loaded(msgspec.Struct, frozen=True):
    """A well-formed history and its origin.

    metadata: what the header says beside the version; empty for formats without one.
    truncated: the last line was cut in the middle, as after a `kill -9` of the writer, and was left out.
    nil_reads_are_wildcards: an `ok` read whose value is None means that nobody knows what was read, so it constrains
        nothing (Jepsen's and Knossos's EDN: knossos.model's registers take nil so). When it is false, None is what was
        read: the key was absent (ours, and the logs of Porcupine's etcd collection). The linearizability checker takes
        this flag as its option `nil_reads`.
    has_real_time: which of two processes' ops came first means something. False for files of sessions that tell no times.
    lines: the line of the file, from 1, that each op came from, for messages.
    """

    history: History
    metadata: dict[str, Any] = {}
    truncated: bool = False
    format: Format = "jsonl"
    nil_reads_are_wildcards: bool = False
    lines: Sequence[int] = ()
    has_real_time: bool = True


@contextmanager
def paused_gc() -> Iterator[None]:
    """No garbage collection meanwhile: who reads a long history makes millions of objects and no garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
