"""Seams against non-determinism, for tests: what a core must not touch becomes an error while it is touched, and what cannot be
caught so is found in its source."""

from __future__ import annotations

import ast
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

TIMES = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep")

ORDERLESS = frozenset({"len", "sorted", "min", "max", "any", "all", "sum", "set", "frozenset", "bool"})
"""Functions whose answer does not depend on the order of what they are given."""


class NonDeterminism(AssertionError):
    """Something that differs from run to run was used inside the guard."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside, real time, randomness without a seed, sockets and threads raise NonDeterminism."""
    forbidden: list[tuple[Any, str]] = [(time, name) for name in TIMES]
    forbidden += [(random, name) for name in random.__all__ if callable(getattr(random, name)) and name.islower()]
    forbidden += [(os, "urandom"), (socket, "socket"), (socket, "create_connection"), (threading.Thread, "start")]
    with ExitStack() as stack:
        for owner, name in forbidden:
            stack.enter_context(mock.patch.object(owner, name, _raiser(f"{owner.__name__}.{name}")))
        stack.enter_context(mock.patch.object(random.Random, "seed", _seeded(random.Random.seed)))
        yield


def _raiser(name: str) -> Callable[..., Any]:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise NonDeterminism(f"{name} was called where only virtual time and seeded randomness may be")

    return refuse


def _seeded(seed: Callable[..., None]) -> Callable[..., None]:
    def checked(self: random.Random, a: object = None, version: int = 2) -> None:
        if a is None:
            raise NonDeterminism("a random.Random was made without a seed")
        seed(self, a, version)

    return checked


def unordered_iterations(source: str) -> list[tuple[int, str]]:
    """(line, expression) wherever the source walks over a set in its own order, which changes with PYTHONHASHSEED.

    Sets are: displays, comprehensions, calls of set or frozenset, and names and attributes that are annotated as one anywhere in
    the source. Walking is: for, comprehensions, unpacking, pop, and calls that keep the order (list, tuple, iter, enumerate, ...).
    """
    tree = ast.parse(source)
    names = _annotated_sets(tree)
    found: list[tuple[int, str]] = []

    def is_set(node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in names
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return is_set(left) or is_set(right)
        return False

    def note(node: ast.expr) -> None:
        if is_set(node):
            found.append((node.lineno, ast.unparse(node)))

    excused = {
        id(generator)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDERLESS
        for argument in node.args
        if isinstance(argument, ast.GeneratorExp | ast.ListComp | ast.SetComp)
        for generator in argument.generators
    }
    for node in ast.walk(tree):
        match node:
            case ast.For(iter=walked) | ast.Starred(value=walked):
                note(walked)
            case ast.SetComp():
                excused |= {id(generator) for generator in node.generators}
            case ast.comprehension(iter=walked) if id(node) not in excused:
                note(walked)
            case ast.Call(func=ast.Name(id=called), args=arguments) if called not in ORDERLESS:
                if called in ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "next", "reversed"):
                    for argument in arguments:
                        note(argument)
            case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=[]):
                note(owner)
            case ast.Call(func=ast.Attribute(attr="join" | "extend"), args=[argument]):
                note(argument)
    return sorted(set(found))


def _annotated_sets(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=annotation):
                pass
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                pass
            case _:
                continue
        if ast.unparse(annotation).partition("[")[0] in ("set", "frozenset", "Set", "AbstractSet"):
            names.add(name)
    return names
