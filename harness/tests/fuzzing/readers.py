"""The readers of files under fuzz. Each takes bytes and raises nothing but what its reader documents; what it read survives the
steps that follow: hashing, writing as ours, reading again, checking, printing."""

from __future__ import annotations

import contextlib
import gzip
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from checkers import Verdict
from checkers.linearizability import UnfitHistory, linearizable
from checkers.models.registry import find
from harness.errors import UsageError
from harness.spec import RunSpec, decode_spec
from harness.store.runs import Result, RunDirectory
from harness.store.traces import read_traces
from harness.tests.fuzzing.stored_readers import stored_readers
from histories import jepsen, jsonl, load, printing
from histories.builder import h
from histories.loaded import Format
from histories.op import freeze
from histories.sources import Source
from histories.tracing import Appended, Applied, Recovered, Started, TraceEvent, TraceRecord
from histories.wellformed import MalformedHistory
from nemesis import schedule
from nemesis.family import Entry
from nemesis.schedule import BadSchedule, Schedule

_HISTORY = h(
    "p0 invoke write x=1 | p1 invoke read x= | p0 ok write x=1 | p1 ok read x=1 | p2 invoke cas x=[1, [2]] | p2 info cas x=[1, [2]]"
    ' | nemesis invoke kill ["n1"] | nemesis info kill {"status": "installed", "begins": []}'
    ' | p3 invoke txn [["r", "a", null], ["append", "b", {"c": [1.5, "d"]}]] | p3 fail txn nil'
)
_LOG = b"""INFO  jepsen.util - 0	:invoke	:write	4
INFO  jepsen.core - something else
INFO  jepsen.util - 0	:ok	:write	4
INFO  jepsen.util - :nemesis	:info	:start	{"n1" #{"n2"}}
INFO  jepsen.util - 1	:invoke	:cas	[4 2]
INFO  jepsen.util - 1	:fail	:cas	[4 2]	:timed-out
"""
_JSON = b"""[{"type": "invoke", "process": 0, "f": "txn", "value": [["append", "x", 1], ["r", "y", null]], "time": 3},
{"type": "info", "process": "nemesis", "f": "kill", "value": ["n1"]}, {"type": "ok", "process": 0, "f": "txn",
"value": [["append", "x", 1], ["r", "y", [1.5, "\\u00e9"]]]}]"""
_SESSIONS = b"w x 1\nw y -2\n----\nr x 1\n====\nr y null\n"
_DBCOP = b"""{"data": [[{"events": [{"write": true, "variable": 0, "value": 1, "success": true}], "success": true}],
[{"events": [{"write": false, "key": 0, "version": null}], "success": false}]]}"""
_KV = b"""{:process 0, :type :invoke, :f :put, :key "0", :value "x"}
{:process 1, :type :invoke, :f :get, :key "0", :value nil}
{:process 0, :type :ok, :f :put, :key "0", :value "x"}
{:process 1, :type :ok, :f :get, :key "0", :value "x"}
"""
_NODES = ("n1", "n2", "n3")


def _jsonl() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "history.jsonl")
        jsonl.write(path, _HISTORY, {"seed": 1})
        return path.read_bytes()


def _edn() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "history.edn")
        jepsen.write(path, _HISTORY)
        return path.read_bytes()


def _schedule() -> bytes:
    entries = (
        Entry(1, "start-partition", {"shape": "isolate-one", "grudge": {"n1": ["n2"], "n2": ["n1"]}}),
        Entry(2, "stop-partition"),
        Entry(3, "start-clock", {"kind": "offset", "offset_ns": {"n1": 10**9}}),
        Entry(4, "kill", ["n1"]),
        Entry(5, "damage-disk", {"kind": "truncate", "nodes": ["n2"], "parameters": {"bytes": 16}}),
        Entry(6, "start-loss", {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.5}}),
    )
    return msgspec.json.encode(Schedule(nodes=_NODES, entries=entries, choices=("partition", "kill"), seed=3))


def _trace() -> bytes:
    command = {"f": "write", "key": "a", "value": [1, {"b": 2}]}
    events: tuple[TraceEvent, ...] = (
        Started(1, 0),
        Recovered(1, ((1, 1),), (command,)),
        Appended(2, 1, (command,)),
        Applied(1, 2, 1, command),
    )
    return b"\n".join(msgspec.json.encode(TraceRecord(i, "n1", event)) for i, event in enumerate(events))


def _history(format: Format | str, place: Path, text: bytes) -> None:
    try:
        loaded = load(Source("fuzz", io.BytesIO(text)), format)  # type: ignore[arg-type]
    except MalformedHistory as error:
        said = str(error)
        assert printing.harmless(said) == said
        assert len(said) < 50_000, len(said)
        return
    history = loaded.history
    assert hash(tuple(freeze(op.value) for op in history)) is not None
    history.by_key()
    for op in history:
        assert printing.line(op.f) is not None
        assert printing.value(op.value)
    jsonl.write(place / "again.jsonl", history)
    again = jsonl.read(place / "again.jsonl").history
    assert [(op.process, op.type, op.f) for op in again] == [(op.process, op.type, op.f) for op in history]
    if len(history) < 40:
        with contextlib.suppress(UnfitHistory):
            linearizable(history, find("register"), states_max=1000, jobs=1)


def _gzip(place: Path, text: bytes) -> None:
    packed = bytearray(gzip.compress(text, 1, mtime=0))
    # The checksums of the bytes choose what is broken in the frame, so that the same bytes always do the same.
    choice = sum(text) % 4
    if choice == 1:
        del packed[len(packed) // 2 :]
    elif choice == 2:
        packed[sum(text) % len(packed)] ^= 1 << sum(text) % 8
    elif choice == 3:
        packed += text[:100]
    (place / "history.gz").write_bytes(packed)
    try:
        load(place / "history.gz")
    except MalformedHistory:
        return


def _spec(place: Path, text: bytes) -> None:
    try:
        decode_spec(text, "spec.json")
    except UsageError:
        return


def _schedules(place: Path, text: bytes) -> None:
    try:
        found = schedule.decode(text, "schedule.json", _NODES)
    except BadSchedule:
        return
    found.windows()
    schedule.outside_model(found, frozenset({"kill"}), 0.5)
    (place / "schedule.json").write_bytes(schedule.encode(found))


def _verdict(place: Path, text: bytes) -> None:
    (place / "verdict.json").write_bytes(text)
    try:
        found = RunDirectory(place).read_result()
    except UsageError:
        return
    if found is not None:
        msgspec.json.encode(found)


def _traces(place: Path, text: bytes) -> None:
    (place / "n1").mkdir(exist_ok=True)
    (place / "n1" / "trace.jsonl").write_bytes(text)
    for record in read_traces(place):
        freeze(msgspec.to_builtins(record))


class Reader(msgspec.Struct, frozen=True):
    """examples: what is mutated. read: given a folder of its own and bytes, raises nothing whatever the bytes are."""

    examples: Sequence[bytes]
    read: Callable[[Path, bytes], None]


def readers() -> Mapping[str, Reader]:
    """Every reader of files by name."""
    ours, edn = _jsonl(), _edn()
    verdict = msgspec.json.encode(Result(Verdict.unknown("no reason", "a"), run_id="x", counts={"ok": 1}))
    return {
        "jsonl": Reader((ours,), lambda place, text: _history("jsonl", place, text)),
        "edn": Reader((edn, b"[" + edn + b"]"), lambda place, text: _history("edn", place, text)),
        "json": Reader((_JSON,), lambda place, text: _history("json", place, text)),
        "sessions": Reader((_SESSIONS,), lambda place, text: _history("sessions", place, text)),
        "dbcop": Reader((_DBCOP,), lambda place, text: _history("dbcop", place, text)),
        "jepsen-log": Reader((_LOG,), lambda place, text: _history("jepsen-log", place, text)),
        "kv-log": Reader((_KV,), lambda place, text: _history("kv-log", place, text)),
        "auto": Reader(
            (ours, edn, _JSON, _SESSIONS, _DBCOP, _LOG, _KV), lambda place, text: _history("auto", place, text)
        ),
        "gzip": Reader((ours, edn), _gzip),
        "spec": Reader((msgspec.json.encode(RunSpec(name="a", workload_options={"a": [1]})),), _spec),
        "schedule": Reader((_schedule(),), _schedules),
        "verdict": Reader((verdict,), _verdict),
        "trace": Reader((_trace(),), _traces),
        **{name: Reader(examples, read) for name, (examples, read) in stored_readers().items()},
    }
