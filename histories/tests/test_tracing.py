"""The vocabulary of traces as files hold it."""

from __future__ import annotations

import msgspec
import pytest

from histories import tracing
from histories.tracing import CORE_EVENTS, DRIVER_EVENTS, KINDS, Recovered, TraceEvent, TraceRecord

EXAMPLES: list[TraceEvent] = [
    tracing.Started(2, 40, "record 3 of 9: its checksum does not match"),
    tracing.Crashed(2),
    tracing.Shown(),
    tracing.Served(17, 4),
    tracing.Role("leader", 3),
    tracing.Recovered(3, ((1, 1), (3, 4)), ({"f": "write"}, None)),
    tracing.Voted(3, "n2"),
    tracing.Promised((3, "n2")),
    tracing.Appended(3, 4, ({"f": "write"}, None)),
    tracing.Truncated(3),
    tracing.Snapshotted(3, 2, 3_735_928_559),
    tracing.Installed(3, 2, 3_735_928_559),
    tracing.Accepted(3, (1, "n1"), {"f": "write"}),
    tracing.Committed(3),
    tracing.Chosen(3, {"f": "write"}),
    tracing.Applied(1, 3, 4, {"f": "write"}),
    tracing.Custom("lease-granted", {"until_ns": 5}),
]


def test_every_kind_has_an_example() -> None:
    assert [type(event) for event in EXAMPLES] == [*DRIVER_EVENTS, *CORE_EVENTS]
    assert {type(event).__name__.lower() for event in EXAMPLES} == KINDS


@pytest.mark.parametrize("event", EXAMPLES, ids=tracing.kind_of)
def test_events_survive_json(event: TraceEvent) -> None:
    record = TraceRecord(12, "n1", event)
    line = msgspec.json.encode(record)
    assert msgspec.json.decode(line, type=TraceRecord) == record
    assert msgspec.json.decode(line)["event"]["kind"] in KINDS


def test_an_event_may_tell_of_slots_in_a_row() -> None:
    assert list(tracing.Chosen("a", 7).slots()) == [("a", 7)]
    assert list(tracing.Chosen(3, "a", ("b", None)).slots()) == [(3, "a"), (4, "b"), (5, None)]
    event = tracing.Accepted(3, (1, "n1"), "a", ("b",))
    assert list(event.slots()) == [(3, "a"), (4, "b")]
    record = TraceRecord(12, "n1", event)
    assert msgspec.json.decode(msgspec.json.encode(record), type=TraceRecord) == record
    assert msgspec.json.decode(b'{"kind":"chosen","slot":3,"command":"a"}', type=TraceEvent) == tracing.Chosen(3, "a")


def test_an_event_of_a_newer_version_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="teleported"):
        msgspec.json.decode(b'{"time":1,"node":"n1","event":{"kind":"teleported"}}', type=TraceRecord)


@pytest.mark.parametrize(
    ("last_index", "terms", "tail"),
    [
        (0, ((1, 1),), ()),
        (2, (), ()),
        (2, ((2, 1),), ()),
        (2, ((1, 1), (3, 2)), ()),
        (2, ((1, 1), (1, 2)), ()),
        (1, ((1, 1),), (1, 2)),
    ],
)
def test_a_recovered_log_is_whole(last_index: int, terms: tuple[tuple[int, int], ...], tail: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="recovered: "):
        Recovered(last_index, terms, tail)


@pytest.mark.parametrize(
    ("last_index", "terms", "tail"),
    [
        (4, (), ()),  # It ends before its snapshot.
        (6, (), ()),
        (6, ((5, 2),), ()),  # The snapshot stands for the fifth.
        (6, ((7, 2),), ()),
        (5, ((6, 2),), ()),
        (6, ((6, 2),), (1, 2)),
    ],
)
def test_a_log_behind_a_snapshot_is_whole(
    last_index: int, terms: tuple[tuple[int, int], ...], tail: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="recovered: "):
        Recovered(last_index, terms, tail, 5, 1)


def test_a_log_may_end_with_its_snapshot_or_go_on_behind_it() -> None:
    assert Recovered(5, (), (), 5, 1).last_index == 5
    assert Recovered(7, ((6, 1), (7, 2)), (1, 2), 5, 1).last_index == 7
