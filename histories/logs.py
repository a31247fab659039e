"""The two text logs of Porcupine's test collection: Jepsen's console lines, and a key-value store's maps.

jepsen-log: `INFO  jepsen.util - 3 :invoke :read nil`, also as today's Jepsen prints it (`... jepsen.util: 3 :ok ...`).
Lines that report no op are passed over. kv-log: `{:process 0, :type :invoke, :f :put, :key "0", :value "x"}`, a map a
line.

In both the order of the lines is the order of events (no line has a time, so an op takes 1 ms), and a nil or "" that
was read was really read: the key was absent. What ends as `:fail :read :timed-out` becomes a fail: a read
without an answer constrains nothing, and its process goes on. What ends `:info ... :timed-out`, or not at all, may
happen at any later time. A failed cas stays in the history as `fail`: whether it is an observation (Porcupine) or
nothing (Knossos) is the checker's option.
"""

from __future__ import annotations

import re
from os import PathLike
from typing import Any

from histories import edn, jepsen, printing
from histories.edn import EdnError, Keyword
from histories.history import History
from histories.jepsen_ops import UNKNOWN
from histories.jepsen_values import plain
from histories.loaded import Loaded, paused_gc
from histories.op import NEMESIS, Op, OpType, Process
from histories.sources import Source, opened, read_text
from histories.wellformed import MalformedHistory, Problem, problems

_LOG_LINE = re.compile(
    r"jepsen\.util(?::| -)\s+(?P<process>[0-9]{1,18}|:nemesis)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>[^\s:]+)"
    r"(?P<rest>(?:\s.*)?)$"
)
_LOG_START = re.compile(r"jepsen\.util(?::| -)\s+(?:[0-9]+|:nemesis)\s+:")


def read_jepsen_log(path: str | PathLike[str] | Source, *, independent: bool | None = None) -> Loaded:
    """The history that Jepsen printed. independent: as histories.jepsen.read says.

    **Raises** OSError when the file cannot be read, MalformedHistory with every broken rule and its line, also when no
    line of the file reports an op.
    """
    items: list[Op | Problem] = []
    lines: list[int] = []
    truncated = False
    with paused_gc(), opened(path) as source:
        text = read_text(source)
        for number, line in enumerate(text.splitlines(), 1):
            if (start := _LOG_START.search(line)) is None:
                continue
            item = _log_op(line, start.start(), len(items), number)
            if isinstance(item, Problem) and number == text.count("\n") + 1:
                truncated = True  # Only a line without an end comes after the last line end: it was cut.
                continue
            items.append(item)
            lines.append(number)
        if not items:
            items, lines = [Problem(0, "syntax", "no line reports an op", 1)], [1]
        items, lines = jepsen.as_ours(items, lines)
        jepsen.split_keys(items, independent)
        return _loaded(source, items, lines, Loaded(History(()), {}, truncated, "jepsen-log"))


def read_kv_log(path: str | PathLike[str] | Source) -> Loaded:
    """The history of a key-value store: get, put and append by key. A key that nothing was put into holds "".

    `metadata["initial"]` is that "". **Raises** OSError when the file cannot be read, MalformedHistory with every
    broken rule and its line.
    """
    with paused_gc(), opened(path) as source:
        items, lines, truncated = jepsen.parse(read_text(source))
        return _loaded(source, items, lines, Loaded(History(()), {"initial": ""}, truncated, "kv-log"))


def _loaded(source: Source, items: list[Op | Problem], lines: list[int], about: Loaded) -> Loaded:
    if broken := problems(items, lines):
        raise MalformedHistory(broken, source.name)
    history = History(item for item in items if isinstance(item, Op))
    return Loaded(history, about.metadata, about.truncated, about.format, lines=lines)


def _log_op(line: str, start: int, position: int, number: int) -> Op | Problem:
    found = _LOG_LINE.match(line, start)
    if found is None:
        return Problem(
            position,
            "syntax",
            f"a process, a type, an f and a value were due: {printing.line(line[start:], 80)}",
            number,
        )
    try:
        forms = [form for _, _, form in edn.forms(found["rest"], depth=2)]
    except EdnError as error:
        return Problem(position, "syntax", f"{error.detail}: {printing.line(line[start:], 80)}", number)
    type: OpType = found["type"]  # type: ignore[assignment]  # The pattern has no other.
    value, error_value = _value_and_error(type, forms)
    process: Process = NEMESIS if found["process"] == f":{NEMESIS}" else int(found["process"])
    return Op(UNKNOWN, UNKNOWN, type, process, found["f"], None, value, error_value)


def _value_and_error(type: OpType, forms: list[Any]) -> tuple[Any, Any]:
    """What was printed after the f: a value, perhaps an error behind it or, in the collection, in its place."""
    if type in ("fail", "info") and len(forms) == 1 and isinstance(forms[0], Keyword):
        return None, forms[0].name
    match [plain(form) for form in forms]:
        case []:
            return None, None
        case [value]:
            return value, None
        case [value, error]:
            return value, error
        case [value, *errors]:
            return value, errors
    raise AssertionError("a list is empty, or has a first element")
