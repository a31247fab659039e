"""Histories in one line, for tests and for talking about anomalies.

    h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 info read")

Ops are separated by `|` or new lines; each is a process (`p0`, or `nemesis`), a type, an f, and perhaps a value. A
value is JSON
with two liberties: `nil` is null, and a bare word is a string; `key=value` puts the op on a key, `key=` alone with no
value. A completion that names no key takes its invocation's. Op i happens at i ms.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from histories.history import History
from histories.op import NEMESIS, Op, OpType, Process
from histories.wellformed import require

_STEP_NS = 1_000_000

_KEYED = re.compile(r"(?P<key>[A-Za-z0-9_./:-]+)=(?P<value>.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_./:-]*")
_JSON_STRING_OR_NIL = re.compile(r'"(?:[^"\\]|\\.)*"|\bnil\b')


def h(text: str, *, check: bool = True) -> History:
    """The history that the text describes.

    **Raises** ValueError that names the op and what is wrong with it, for text that is no history; MalformedHistory
    when `check` and the ops break the rules of histories.wellformed.
    """
    ops: list[Op] = []
    keys: dict[Process, Any] = {}
    for piece in _pieces(text):
        op = _op(piece, len(ops), keys)
        if op.type == "invoke":
            keys[op.process] = op.key
        ops.append(op)
    if check:
        require(ops)
    return History(ops)


def _pieces(text: str) -> list[str]:
    """The text of each op: split at bars and line ends that are not inside a JSON string."""
    pieces = re.findall(r'(?:"(?:[^"\\\n]|\\.)*"|[^|\n"]|")+', text)
    return [piece.strip() for piece in pieces if piece.strip()]


def _op(piece: str, index: int, keys: dict[Process, Any]) -> Op:
    words = piece.split(None, 3)
    if len(words) < 3:
        raise ValueError(f"op {index} ({piece!r}): a process, a type and an f were due, such as 'p0 invoke write 1'")
    who, type, f = words[:3]
    if type not in get_args(OpType):
        raise ValueError(f"op {index} ({piece!r}): {type!r} is not a type: invoke, ok, fail or info")
    process = _process(who, piece, index)
    key: Any = None if type == "invoke" else keys.get(process)
    value: Any = None
    if len(words) == 4:
        rest = words[3]
        if keyed := _KEYED.fullmatch(rest):
            key = _value(keyed["key"], piece, index)
            rest = keyed["value"]
        value = _value(rest, piece, index)
    return Op(index, index * _STEP_NS, type, process, f, key, value)  # type: ignore[arg-type]  # Compared above.


def _process(who: str, piece: str, index: int) -> Process:
    if who == NEMESIS:
        return NEMESIS
    if re.fullmatch(r"p[0-9]+", who):
        return int(who[1:])
    raise ValueError(f"op {index} ({piece!r}): {who!r} is not a process: p0, p1, ... or {NEMESIS}")


def _value(text: str, piece: str, index: int) -> Any:
    text = text.strip()
    if not text:
        return None
    if text not in ("true", "false", "null", "nil") and _WORD.fullmatch(text):
        return text
    as_json = _JSON_STRING_OR_NIL.sub(lambda found: "null" if found[0] == "nil" else found[0], text)
    try:
        return msgspec.json.decode(as_json)
    except msgspec.DecodeError as error:
        raise ValueError(f"op {index} ({piece!r}): {text!r} is neither JSON nor one word: {error}") from None
