"""Transactions of sessions, without times: the plain text that AWDIT reads, and JSON as DBCop writes it.

sessions: a line `r KEY VALUE` or `w KEY VALUE` for each micro-operation, a line of dashes behind each transaction but the last
of a session, a line of equal signs between sessions. Whole numbers are numbers, all else is text. Lines that begin with # or //
say nothing.

dbcop: sessions as lists of transactions {"events": [...], "success": true}, alone or under "data". An event is one of
{"write": true, "variable": 0, "value": 1}, as DBCop wrote them until 2025, {"Write": {"variable": 0, "version": 1}} and
["w", 0, 1], as it does since; "success" became "committed". The key may be called variable or key, the value value or version.
A transaction that did not succeed failed; in one that did, an event without success did not happen. Where nobody writes 0 to a
key, who reads 0 or null of it reads what was there at first: that is null here.

Each session is a process here. Nothing says which of two sessions' transactions came first: the ops of one session stand behind
those of the one before it in the file, and `Loaded.has_real_time` is false, so that nobody takes that for an order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from typing import Any

import msgspec

from histories.history import History
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.loaded import Loaded, paused_gc
from histories.op import Op, OpType
from histories.printing import quoted
from histories.repeated_keys import repeated_key
from histories.sources import Source, opened, read_text
from histories.wellformed import MalformedHistory, Problem

_STEP = re.compile(r"([rwRW])[ \t]+(\S+)[ \t]+(\S+)")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_STEP_NS = 1_000_000

Transaction = tuple[int, list[list[Any]], OpType, int]
"""(process, micro-operations, how it ended, line)."""


def read_sessions(path: str | PathLike[str] | Source) -> Loaded:
    """The history in the text. **Raises** OSError, and MalformedHistory with every line that is none of the format."""
    with paused_gc(), opened(path) as source:
        problems: list[Problem] = []
        found = list(_of_text(read_text(source), problems))
        return _loaded(source, found, problems, "sessions")


def read_dbcop(path: str | PathLike[str] | Source) -> Loaded:
    """The history in the JSON. **Raises** OSError, and MalformedHistory with everything that is none of the format."""
    with paused_gc(), opened(path) as source:
        try:
            text = read_text(source)
            document = decoded(msgspec.json.decode, text.encode(), FILE_DEPTH_MAX)
        except msgspec.DecodeError as error:
            raise MalformedHistory([Problem(0, "syntax", f"no JSON: {error}", 1)], source.name) from None
        if (repeated := repeated_key(text)) is not None:
            raise MalformedHistory([Problem(0, "syntax", str(repeated), 1)], source.name)
        sessions = document.get("data") if isinstance(document, dict) else document
        problems: list[Problem] = []
        found = list(_of_sessions(sessions, problems))
        return _loaded(source, _from_nothing(found), problems, "dbcop")


def _of_text(text: str, problems: list[Problem]) -> Iterator[Transaction]:
    process, begin = 0, 1
    steps: list[list[Any]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(("#", "//")):
            continue
        if set(line.replace(" ", "")) in ({"-"}, {"="}):
            if steps:
                yield process, steps, "ok", begin
                steps = []
            process += line[0] == "="
            continue
        if (step := _STEP.fullmatch(line)) is None:
            problems.append(
                Problem(number - 1, "syntax", f"{quoted(line)} is not `r KEY VALUE` or `w KEY VALUE`", number)
            )
            continue
        if not steps:
            begin = number
        steps.append([step[1].lower(), _word(step[2]), _word(step[3])])
    if steps:
        yield process, steps, "ok", begin


def _word(text: str) -> int | str:
    return int(text) if _NUMBER.fullmatch(text) else text


def _of_sessions(sessions: Any, problems: list[Problem]) -> Iterator[Transaction]:
    def wrong(where: str, what: Any, due: str) -> None:
        problems.append(Problem(len(problems), "syntax", f"{where}: {quoted(what)} is not {due}", 1))

    if not isinstance(sessions, list):
        wrong("the file", sessions, "a list of sessions, alone or under data")
        return
    for process, session in enumerate(sessions):
        if not isinstance(session, list):
            wrong(f"session {process}", session, "a list of transactions")
            continue
        for number, transaction in enumerate(session):
            where = f"session {process}, transaction {number}"
            events = transaction.get("events") if isinstance(transaction, dict) else None
            if not isinstance(events, list):
                wrong(where, transaction, 'an object with a list "events"')
                continue
            steps: list[list[Any]] = []
            undone: list[list[Any]] = []
            for event in events:
                if (step := _step(event)) is None:
                    wrong(where, event, "an event with write, variable (or key) and value (or version)")
                    break
                was_done = not (isinstance(event, dict) and event.get("success") is False)
                (steps if was_done else undone).append(step)
            else:
                if transaction.get("success", transaction.get("committed")) is False:
                    yield process, [*steps, *undone], "fail", 1
                    continue
                if writes := [step for step in undone if step[0] == "w"]:
                    yield process, writes, "fail", 1
                yield process, steps, "ok", 1


def _step(event: Any) -> list[Any] | None:
    match event:
        case ["r" | "w" as f, key, value]:
            fields: Any = {"variable": key, "value": value}
        case {"Read": fields}:
            f = "r"
        case {"Write": fields}:
            f = "w"
        case {"write": bool(is_write)}:
            f, fields = "w" if is_write else "r", event
        case _:
            return None
    if not isinstance(fields, dict):
        return None
    keys = [fields[name] for name in ("variable", "key") if name in fields]
    values = [fields[name] for name in ("value", "version") if name in fields]
    if len(keys) != 1 or len(values) != 1 or (f == "w" and values[0] is None):
        return None
    return [f, keys[0], values[0]]


def _from_nothing(found: list[Transaction]) -> list[Transaction]:
    """The same transactions, in which a read of 0 that nobody wrote to the key is one of null."""
    written = {_name(key) for _, steps, _, _ in found for f, key, value in steps if f == "w" and _is_zero(value)}
    for _, steps, _, _ in found:
        for step in steps:
            if step[0] == "r" and _is_zero(step[2]) and _name(step[1]) not in written:
                step[2] = None
    return found


def _is_zero(value: Any) -> bool:
    return type(value) is int and value == 0


def _name(key: Any) -> str:
    return msgspec.json.encode(key).decode()


def _loaded(source: Source, found: list[Transaction], problems: list[Problem], format: Any) -> Loaded:
    if not found and not problems:
        problems = [Problem(0, "syntax", "no transaction in it", 1)]
    if problems:
        raise MalformedHistory(problems, source.name)
    ops: list[Op] = []
    lines: list[int] = []
    for process, steps, ended, line in found:
        asked = [[f, key, None if f == "r" else value] for f, key, value in steps]
        types: tuple[tuple[OpType, list[list[Any]]], ...] = (
            ("invoke", asked),
            (ended, steps if ended == "ok" else asked),
        )
        for type, value in types:
            ops.append(Op(len(ops), len(ops) * _STEP_NS, type, process, "txn", None, value))
            lines.append(line)
    return Loaded(History(ops), {}, False, format, lines=lines, has_real_time=False)
