"""The trace files of a run's nodes, merged into one stream by time."""

from __future__ import annotations

from pathlib import Path

import msgspec

from histories.tracing import TraceRecord

FILE = "trace.jsonl"


def read_traces(nodes: Path) -> list[TraceRecord]:
    """Every record of `nodes`/<n>/trace.jsonl, by time; a node's own order is kept.

    Leaves out lines that a kill cut off, and events of kinds that this version does not know.
    """
    decoder = msgspec.json.Decoder(TraceRecord)
    records: list[TraceRecord] = []
    for path in sorted(nodes.glob(f"*/{FILE}")):
        for line in path.read_bytes().splitlines():
            try:
                records.append(decoder.decode(line))
            except msgspec.DecodeError:
                continue
    records.sort(key=lambda record: record.time)
    return records
