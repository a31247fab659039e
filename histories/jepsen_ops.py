"""An EDN map as an op, field by field: what each field may hold, and what is said of one that holds something else."""

from __future__ import annotations

from typing import Any, get_args

from histories import edn, printing
from histories.edn import Keyword, Symbol
from histories.jepsen_values import plain
from histories.op import NEMESIS, Op, OpType, Process

UNKNOWN = -1
"""The time of an op that says none."""

_FIELDS = ("index", "time", "type", "process", "f", "key", "value", "error", "node")
_TYPES: dict[str, OpType] = {type: type for type in get_args(OpType)}


class NotAnOp(Exception):
    def __init__(self, rule: str, detail: str) -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(rule, detail)


_INDEX, _TIME, _TYPE, _PROCESS, _F, _KEY, _VALUE, _ERROR, _NODE = map(Keyword, _FIELDS)


def op_of(form: Any) -> tuple[int, Op]:
    """The index that the form claims, and its op."""
    if not isinstance(form, dict):
        raise NotAnOp("syntax", f"a map was due, not {_shown(form)}")
    type, process, f = type_of(form.get(_TYPE)), process_of(form.get(_PROCESS)), f_of(form.get(_F))
    index, time_ns = form.get(_INDEX), form.get(_TIME)
    for name, number in ((":index", index), (":time", time_ns)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise NotAnOp(name[1:], f"{_shown(number)} is no {name}")
    return UNKNOWN if index is None else index, Op(
        UNKNOWN,
        UNKNOWN if time_ns is None else max(time_ns, 0),
        type,
        process,
        f,
        plain(form.get(_KEY)),
        plain(form.get(_VALUE)),
        plain(form.get(_ERROR)),
        word_of(form.get(_NODE)),
    )


def type_of(form: Any) -> OpType:
    type = _TYPES.get(word_of(form) or "")
    if type is None:
        raise NotAnOp("type", f"{_shown(form)} is not a type: :invoke, :ok, :fail or :info")
    return type


def process_of(form: Any) -> Process:
    if word_of(form) == NEMESIS:
        return NEMESIS
    if isinstance(form, bool) or not isinstance(form, int) or form < 0:
        raise NotAnOp("process", f"{_shown(form)} is not a process: an integer from 0 up, or :{NEMESIS}")
    return form


def f_of(form: Any) -> str:
    f = word_of(form)
    if f is None:
        raise NotAnOp("syntax", f"{_shown(form)} is no :f")
    return f


def word_of(value: Any) -> str | None:
    match value:
        case Keyword(name) | Symbol(name):
            return name
        case str():
            return value
        case _:
            return None


def _shown(form: Any) -> str:
    return printing.line(edn.dumps(form), 80)
