"""The files of a simulated run, written while it goes on: nodes/<n>/trace.jsonl, nodes/<n>/node.log, messages.jsonl.

What happens comes in blocks of some thousand rows, so that memory does not grow with the length of the run, and a step of the
simulation pays next to nothing for its place in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path

import msgspec

from harness.environments.sim.message_log import LogEntry
from harness.environments.sim.world import TraceRow
from histories.tracing import TraceRecord
from nemesis.capabilities import NodeId

MESSAGES = "messages.jsonl"


class RunFiles:
    """Appends to the files below `root`, which are made anew. Raises OSError when the disk refuses.

    has_traces, has_messages: whether there is a trace for each node, and messages.jsonl.
    """

    def __init__(self, root: Path, nodes: Iterable[NodeId], *, has_traces: bool, has_messages: bool) -> None:
        self._encode_into = msgspec.json.Encoder().encode_into
        self._files: list[FileIO] = []
        self._logs: dict[NodeId, FileIO] = {}
        self._traces: dict[NodeId, FileIO] = {}
        for node in nodes:
            directory = root / "nodes" / node
            directory.mkdir(parents=True, exist_ok=True)
            self._logs[node] = self._open(directory / "node.log")
            if has_traces:
                self._traces[node] = self._open(directory / "trace.jsonl")
        self._messages = self._open(root / MESSAGES) if has_messages else None

    def _open(self, path: Path) -> FileIO:
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - it lives as long as the run
        self._files.append(file)
        return file

    def keep_traces(self, rows: Sequence[TraceRow]) -> None:
        """One line for each row, in the file of its node."""
        lines: dict[NodeId, bytearray] = {node: bytearray() for node in self._traces}
        encode_into = self._encode_into
        for row in rows:
            buffer = lines[row[1]]
            encode_into(TraceRecord(*row), buffer, -1)
            buffer += b"\n"
        for node, buffer in lines.items():
            _write(self._traces[node], buffer)

    def keep_messages(self, entries: Sequence[LogEntry]) -> None:
        """One line for each entry."""
        assert self._messages is not None, "the run keeps no messages"
        buffer = bytearray()
        for entry in entries:
            self._encode_into(entry, buffer, -1)
            buffer += b"\n"
        _write(self._messages, buffer)

    def keep_log(self, node: NodeId, lines: Sequence[tuple[int, str]]) -> None:
        """One line for each (time ns, words) of the node's log."""
        _write(self._logs[node], "".join(f"{when / 1e9:12.6f} {words}\n" for when, words in lines).encode())

    def close(self) -> None:
        """Nothing more is written. Idempotent."""
        for file in self._files:
            file.close()


def _write(file: FileIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
