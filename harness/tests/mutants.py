"""Raft with one mistake each in what it writes to its disk: made from the text of its core, found by the simulation.

A mutant is a target of its own, "harness.tests.mutants:removed_3" or "harness.tests.mutants:swapped_3": the third place in the
core that writes a record writes none, or writes it behind the message that should wait for it.
"""

from __future__ import annotations

import importlib.util
import random
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import msgspec

from targets import machine_registry
from targets.core import Effect, Event, NodeId, Persist, Send
from targets.raft import core as original
from targets.raft.target import RaftTarget

_WRITE = re.compile(r"^ *self\._persist(?:_state)?\(.*\bout\b.*\)", re.MULTILINE)
_INSIDE = "_persist_state"
"""Of the core's own functions, the one that only passes on what its callers write."""


def _writes() -> list[tuple[str, re.Match[str]]]:
    """Each place in the core that writes a record: the function that it is in, and the statement."""
    text = Path(original.__file__).read_text()
    functions = [
        (re.findall(r"^    def (\w+)", text[: match.start()], re.MULTILINE)[-1], match)
        for match in _WRITE.finditer(text)
    ]
    return [(function, match) for function, match in functions if function != _INSIDE]


def places() -> list[tuple[str, str]]:
    """The function and the statement of each."""
    return [(function, match.group().strip()) for function, match in _writes()]


class Late(msgspec.Struct, frozen=True):
    """Stands, until the step is over, where a record was written that is to be written later."""

    persist: Persist


def swapped(effects: Sequence[Effect | Late]) -> list[Effect]:
    """Each late record behind the next message; where it was when there is none."""
    after: list[Effect] = []
    held: list[Persist] = []
    for position, effect in enumerate(effects):
        if isinstance(effect, Late):
            is_followed = any(isinstance(other, Send) for other in effects[position:])
            (held if is_followed else after).append(effect.persist)
            continue
        after.append(effect)
        if isinstance(effect, Send):
            after += held
            held.clear()
    return after


def _mutated(kind: str, number: int) -> types.ModuleType:
    """The core with its `number`th write removed or late, as a module."""
    match = _writes()[number][1]
    text = match.string
    indent = " " * (len(match.group()) - len(match.group().lstrip()))
    instead = f"{indent}pass" if kind == "removed" else f"{match.group()}\n{indent}out[-1] = _Late(out[-1])"
    name = f"{original.__name__}_{kind}_{number}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["_Late"] = Late
    sys.modules[name] = module
    exec(compile(text[: match.start()] + instead + text[match.end() :], original.__file__, "exec"), module.__dict__)
    return module


class MutantTarget(RaftTarget):
    """Raft with one mistake."""

    def __init__(self, kind: str, number: int) -> None:
        self._raft: type[original.Raft] = _mutated(kind, number).Raft

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> original.Raft:
        core = self._raft(node, members, options, bugs, rng, machine_registry.find(interface))  # type: ignore[arg-type]
        step = core.step

        def mutated_step(now_ns: int, event: Event) -> list[Effect]:
            effects = step(now_ns, event)
            return swapped(effects) if any(isinstance(effect, Late) for effect in effects) else effects

        core.step = mutated_step  # type: ignore[method-assign]
        return core


def __getattr__(name: str) -> MutantTarget:
    """The mutants by name, made when they are asked for."""
    kind, _, number = name.partition("_")
    if kind in ("removed", "swapped") and number.isdigit() and int(number) < len(places()):
        return MutantTarget(kind, int(number))
    raise AttributeError(name)
