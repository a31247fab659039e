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
from targets.raft import elections, installation, member, replication
from targets.raft.core import Raft
from targets.raft.options import RaftOptions
from targets.raft.target import RaftTarget

_MODULES = (elections, member, replication, installation)
"""Where the core writes records."""

_WRITE = re.compile(r"^ *self\._persist(?:_state)?\(.*\bout\b.*\)", re.MULTILINE)
_INSIDE = "_persist_state"
"""Of the core's own functions, the one that only passes on what its callers write."""


def _writes() -> list[tuple[types.ModuleType, str, re.Match[str]]]:
    """Each place in the core that writes a record: the module and the function that it is in, and the statement."""
    found = []
    for module in _MODULES:
        assert module.__file__ is not None
        text = Path(module.__file__).read_text()
        for match in _WRITE.finditer(text):
            function = re.findall(r"^    def (\w+)", text[: match.start()], re.MULTILINE)[-1]
            if function != _INSIDE:
                found.append((module, function, match))
    return found


def places() -> list[tuple[str, str]]:
    """The function and the statement of each."""
    return [(function, match.group().strip()) for _, function, match in _writes()]


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


def _mutated(kind: str, number: int) -> type[Raft]:
    """The core with its `number`th write removed or late: a class whose one function is made from the changed text."""
    module, function, match = _writes()[number]
    text = match.string
    indent = " " * (len(match.group()) - len(match.group().lstrip()))
    instead = f"{indent}pass" if kind == "removed" else f"{match.group()}\n{indent}out[-1] = _Late(out[-1])"
    name = f"{module.__name__}_{kind}_{number}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    mutant = importlib.util.module_from_spec(spec)
    mutant.__dict__["_Late"] = Late
    sys.modules[name] = mutant
    assert module.__file__ is not None
    exec(compile(text[: match.start()] + instead + text[match.end() :], module.__file__, "exec"), mutant.__dict__)
    (changed,) = (
        vars(made)[function] for made in vars(mutant).values() if _is_made_in(made, name) and function in vars(made)
    )
    return type("Raft", (Raft,), {function: changed})


def _is_made_in(made: object, module: str) -> bool:
    return isinstance(made, type) and made.__module__ == module


class MutantTarget(RaftTarget):
    """Raft with one mistake."""

    def __init__(self, kind: str, number: int) -> None:
        self._raft = _mutated(kind, number)

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Raft:
        assert isinstance(options, RaftOptions)
        core = self._raft(node, members, options, bugs, rng, machine_registry.find(interface))
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
