"""The trace files of a run's nodes, merged into one stream by time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import msgspec

from harness.store.files import regular
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.tracing import TraceRecord

FILE = "trace.jsonl"


def read_traces(nodes: Path) -> Iterator[TraceRecord]:
    """Every record of `nodes`/<n>/trace.jsonl, by time; a node's own order is kept. One record of each node is held at a time.

    Leaves out lines that a kill cut off, and events of kinds that this version does not know.
    """
    streams = [_in_own_order(path) for path in sorted(nodes.glob(f"*/{FILE}"))]
    for _, record in heapq.merge(*streams, key=itemgetter(0)):
        yield record


def _in_own_order(path: Path) -> Iterator[tuple[int, TraceRecord]]:
    """(when it counts, record) of one node. A record never counts as earlier than the one before it, whatever its clock said."""
    decode = msgspec.json.Decoder(TraceRecord).decode
    latest_ns = 0
    with regular(path).open("rb") as file:
        for line in file:
            try:
                record = decoded(decode, line, FILE_DEPTH_MAX)
            except msgspec.DecodeError:
                continue
            latest_ns = max(latest_ns, record.time)
            yield latest_ns, record
