"""The guard itself, and every core of the project under its eyes."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments.sim.guard import NonDeterminism, deterministic, unordered_iterations

ROOT = Path(__file__).resolve().parents[2]


USES: dict[str, Callable[[], object]] = {
    "time.time": lambda: time.time(),
    "time.monotonic_ns": lambda: time.monotonic_ns(),
    "time.sleep": lambda: time.sleep(0),
    "random.random": lambda: random.random(),
    "random.shuffle": lambda: random.shuffle([1]),
    "random.Random": lambda: random.Random(),
    "os.urandom": lambda: os.urandom(1),
    "socket.socket": lambda: socket.socket().close(),
    "Thread.start": lambda: threading.Thread(target=int).start(),
}


@pytest.mark.parametrize("name", USES)
def test_what_differs_from_run_to_run_is_an_error_inside_and_works_again_outside(name: str) -> None:
    with deterministic(), pytest.raises(NonDeterminism, match=name.split(".")[1]):
        USES[name]()
    USES[name]()


def test_seeded_randomness_is_allowed() -> None:
    with deterministic():
        inside = random.Random("a seed").random()
    assert inside == random.Random("a seed").random()


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: pass",
        "for x in set(names): pass",
        "votes: set[str] = set()\nfor x in votes: pass",
        "class A:\n    def __init__(self):\n        self.votes: set[str] = set()\n    def f(self):\n"
        "        return [Send(v) for v in self.votes]",
        "def f(names: frozenset[str]): return list(names)",
        "def f(names: set[str]): return next(iter(names))",
        "def f(names: set[str]): return names.pop()",
        "def f(names: set[str]): return [*names]",
        "def f(names: set[str]): return ', '.join(names)",
        "def f(a: set[str], b: set[str]):\n    for x in a | b: pass",
        "x = {y: 1 for y in {1, 2}}",
    ],
)
def test_walking_over_a_set_is_found(source: str) -> None:
    assert unordered_iterations(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(names: set[str]):\n    for x in sorted(names): pass",
        "def f(names: set[str]): return len(names), 'a' in names, max(names)",
        "def f(names: set[str]): return any(x == 'a' for x in names)",
        "def f(names: set[str]): return {x.upper() for x in names}",
        "def f(names: list[str]):\n    for x in names: pass",
        "def f(names: dict[str, int]): return names.pop('a'), list(names)",
    ],
)
def test_what_does_not_depend_on_order_is_not(source: str) -> None:
    assert unordered_iterations(source) == []


def core_sources() -> list[Path]:
    packages = sorted({path.parent for path in (ROOT / "targets").rglob("core.py")} - {ROOT / "targets"})
    assert packages
    return [path for package in [*packages, ROOT / "targets" / "machines"] for path in sorted(package.glob("*.py"))]


@pytest.mark.parametrize("path", core_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_core_walks_over_a_bare_set(path: Path) -> None:
    found = unordered_iterations(path.read_text())
    assert not found, "\n".join(f"{path}:{line}: {words}" for line, words in found)


FORBIDDEN = frozenset(
    [
        "time",
        "datetime",
        "os",
        "io",
        "socket",
        "select",
        "asyncio",
        "threading",
        "multiprocessing",
        "logging",
        "subprocess",
        "secrets",
        "uuid",
        "tempfile",
        "pathlib",
        "signal",
        "shutil",
        "aiohttp",
        "uvloop",
    ]
)


@pytest.mark.parametrize("path", core_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_core_imports_the_outside_world_or_draws_from_shared_randomness(path: Path) -> None:
    import ast

    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names):
                modules = [module]
                assert module != "random" or [name.name for name in names] == ["Random"], f"{path}:{node.lineno}"
            case ast.Attribute(value=ast.Name(id="random"), attr=attribute):
                assert attribute == "Random", f"{path}:{node.lineno}: random.{attribute} is shared by the whole process"
                continue
            case _:
                continue
        assert not {module.partition(".")[0] for module in modules} & FORBIDDEN, f"{path}:{node.lineno}: {modules}"
