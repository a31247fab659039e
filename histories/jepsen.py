"""Jepsen's and Knossos's histories in EDN, in both directions: one vector or list of maps, or one map a line.

What differs from ours, and what is made of it:

- The order of the file is the order of events: Jepsen numbers ops as they happen. They are counted anew, because files
  of one key have gaps; indices that do not rise are refused. Events at the same nanosecond stay in the file's order.
- A time earlier than the one before it (old Jepsens stamp ops in many threads) is raised to it; without times an op
  takes 1 ms.
- Jepsen's nemesis begins and ends its ops with :info; they become invoke and info. What nothing ends, ends at once.
- Keywords become strings, sets lists, and keys of maps strings: values are JSON-like here.
- Tests over many keys (jepsen.independent) keep a [key value] pair in :value.
- An `ok` read of nil is a read of anything: knossos.model's registers take it so, and
  `Loaded.nil_reads_are_wildcards` says it.
- Fields that Op has no place for (:exception, :clock-offsets, ...) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, cast

import msgspec
from msgspec.structs import force_setattr

from histories import edn
from histories.edn import Keyword
from histories.history import History
from histories.jepsen_maps import read_maps
from histories.jepsen_ops import UNKNOWN
from histories.loaded import Format, Loaded, paused_gc
from histories.op import NEMESIS, Op, OpType
from histories.sources import Source, opened, read_text
from histories.wellformed import MalformedHistory, Problem, problems

_STEP_NS = 1_000_000
_NO_KEYS = (list, dict, type(None))


def read(path: str | PathLike[str] | Source, *, independent: bool | None = None) -> Loaded:
    """The history in the EDN file, without a last map that was cut.

    independent: whether client values are [key value] pairs. None: they are when every client's value is a pair with a
    scalar key and some operation was invoked with a pair that ends in nil, as an independent read is; a cas register's
    values never look so.
    **Raises** OSError when the file cannot be read, MalformedHistory with every broken rule and its line when it is not
    a well-formed history.
    """
    with paused_gc(), opened(path) as source:
        items, lines, truncated = _parse(read_text(source))
        return finished(source, items, lines, truncated, "edn", independent=independent)


def finished(
    source: Source,
    items: list[Op | Problem],
    lines: Sequence[int],
    truncated: bool,
    format: Format,
    *,
    independent: bool | None,
) -> Loaded:
    """What was read of the source, as ours. **Raises** MalformedHistory with every broken rule and its line."""
    split_keys(items, independent)
    if broken := problems(items, lines):
        raise MalformedHistory(broken, source.name)
    # No problem among them: it would have been reported.
    return Loaded(History(cast(list[Op], items)), {}, truncated, format, nil_reads_are_wildcards=True, lines=lines)


def split_keys(items: list[Op | Problem], independent: bool | None) -> None:
    """[key value] pairs are the key and the value of their ops, where they are pairs. independent: as `read` says."""
    if independent or (independent is None and _is_independent(items)):
        _split_pairs(items)


def parse(text: str) -> tuple[list[Op | Problem], list[int], bool]:
    """Each op of the text, or what is wrong with it; the line of each; whether the last one was cut (and left out)."""
    items, lines, truncated = _parse(text)
    return items, list(lines), truncated


def as_ours(items: list[Op | Problem], lines: list[int]) -> tuple[list[Op | Problem], list[int]]:
    """The same ops with the nemesis's as pairs of invoke and info, counted anew, with times that never go backwards.

    The ops given are used up: they are changed.
    """
    items, paired_lines = _pair_nemesis(items, lines)
    _number(items)
    return items, list(paired_lines)


def _parse(text: str) -> tuple[list[Op | Problem], Sequence[int], bool]:
    items, lines, truncated = read_maps(text)
    if not items:
        items, lines = [Problem(0, "syntax", "no op in it", 1)], [1]
    items, lines = _pair_nemesis(items, lines)
    _number(items)
    return items, lines, truncated


def write(path: str | PathLike[str], ops: Iterable[Op]) -> None:
    """The file holds these ops as Jepsen writes them: a map a line, nemesis ops all :info, [key value] pairs where
    there are keys.

    **Raises** TypeError for values that EDN has no notation for.
    """
    with open(path, "w", encoding="utf-8") as file:
        for op in ops:
            file.write(f"{edn.dumps(_form(op))}\n")


def _pair_nemesis(items: list[Op | Problem], lines: Sequence[int]) -> tuple[list[Op | Problem], Sequence[int]]:
    """The same ops, the nemesis's ones as pairs of invoke and info."""
    ends: list[tuple[int, Op]] = []  # To be put in behind that position.
    begun: tuple[int, Op] | None = None
    for position, item in enumerate(items):
        if item.__class__ is not Op or item.process != NEMESIS:
            continue
        is_end = begun is not None and item.type != "invoke" and begun[1].f == item.f
        if begun is not None and not is_end:
            # Nothing ended the one before. Its effect lasts, but as an op it is over, or this one could not begin.
            ends.append((begun[0], _retyped(begun[1], "info")))
        begun = None if is_end else (position, item)
        force_setattr(item, "type", "info" if is_end else "invoke")
    if not ends:
        return items, lines
    paired: list[Op | Problem] = []
    paired_lines: list[int] = []
    start = 0
    for position, end in ends:
        paired += (*items[start : position + 1], end)
        paired_lines += (*lines[start : position + 1], lines[position])
        start = position + 1
    return [*paired, *items[start:]], [*paired_lines, *lines[start:]]


def _retyped(op: Op, type: OpType) -> Op:
    return Op(op.index, op.time, type, op.process, op.f, op.key, op.value, op.error, op.node)


def _number(items: list[Op | Problem]) -> None:
    """Indices count the ops; times never go backwards. The ops are this module's own until it hands them out."""
    times_ns = [item.time for item in items if isinstance(item, Op)]
    has_times = max(times_ns, default=UNKNOWN) >= 0
    last_ns = 0
    for position, item in enumerate(items):
        if isinstance(item, Op):
            time_ns = item.time if has_times else position * _STEP_NS
            if time_ns > last_ns:
                last_ns = time_ns
            if item.index != position:
                force_setattr(item, "index", position)
            if item.time != last_ns:
                force_setattr(item, "time", last_ns)


def _is_independent(items: list[Op | Problem]) -> bool:
    has_open_read = False
    for op in items:
        if op.__class__ is not Op or op.process == NEMESIS:
            continue
        value = op.value
        if value is None and op.type in ("info", "fail"):
            continue  # The error may have taken its place.
        if value.__class__ is not list or len(value) != 2 or value[0].__class__ in _NO_KEYS:
            return False
        if value[1] is None and op.type == "invoke":
            has_open_read = True
    return has_open_read


def _split_pairs(items: list[Op | Problem]) -> None:
    """A [key value] pair becomes the op's key and value; a completion without a pair has its invocation's key."""
    keys: dict[Any, Any] = {}
    for op in items:
        if op.__class__ is not Op or op.process == NEMESIS:
            continue
        if isinstance(op.value, list) and len(op.value) == 2:
            force_setattr(op, "key", op.value[0])
            force_setattr(op, "value", op.value[1])
        elif op.type != "invoke":
            force_setattr(op, "key", keys.get(op.process))
        if op.type == "invoke":
            keys[op.process] = op.key


def _form(op: Op) -> dict[Keyword, Any]:
    value = _transaction(op.value) if op.f == "txn" else op.value
    if op.key is not None:
        value = [op.key, value]
    form: dict[Keyword, Any] = {
        Keyword("index"): op.index,
        Keyword("time"): op.time,
        Keyword("type"): Keyword(op.type if op.is_client else "info"),
        Keyword("process"): op.process if op.is_client else Keyword(NEMESIS),
        Keyword("f"): _keyword(op.f),
        Keyword("value"): _listed(value),
    }
    if op.error is not None:
        form[Keyword("error")] = _listed(op.error)
    if op.node is not None:
        form[Keyword("node")] = op.node
    return form


_NAME = re.compile(r"[A-Za-z*!?_<>=+-][A-Za-z0-9*!?_<>=+.-]*")


def _keyword(name: str) -> Keyword | str:
    """The name as a keyword; as a string when it is no name that a keyword can have. The reader takes both."""
    return Keyword(name) if _NAME.fullmatch(name) else name


def _transaction(value: Any) -> Any:
    """Micro-ops as Elle wants them: [:append key element] and [:r key list], the first a keyword."""
    if not isinstance(value, list | tuple):
        return value
    return [
        [_keyword(step[0]), *step[1:]] if isinstance(step, list | tuple) and step and isinstance(step[0], str) else step
        for step in value
    ]


def _listed(value: Any) -> Any:
    """Tuples as vectors: Clojure's lists are code, and Jepsen's histories have none."""
    match value:
        case list() | tuple():
            return [_listed(item) for item in value]
        case Mapping():
            return {key: _listed(item) for key, item in value.items()}
        case msgspec.Struct() if not isinstance(value, Keyword):
            return _listed(msgspec.structs.asdict(value))
        case _:
            return value
