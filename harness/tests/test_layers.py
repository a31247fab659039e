"""Imports inside harness go one way: each part imports only parts that stand below it here, and never upwards."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx
import pytest

from harness.tests.test_imports import OURS, ROOT, imported_modules, sources

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("notation",),
    ("spec",),
    ("generators",),
    ("workloads",),
    ("store",),
    ("clients",),
    ("environments",),
    ("run",),
    ("report",),
    ("zoo",),
    ("campaign", "cluster", "scaffold"),
    ("cli",),
    ("bench", "soak", "demo", "__main__", "pytest_plugin"),
)
"""From the ground up; the parts of one floor do not know each other."""

ENVIRONMENTS: tuple[tuple[str, ...], ...] = (
    ("base", "membership", "write_cache"),
    ("backups",),
    ("real",),
    ("linux",),
    ("sim", "local", "netns", "docker", "ssh", "shared_memory"),
    ("registry", "leftovers", "fault_table"),
)
"""The same within environments: what environments share stands below them, and none knows another."""


def rank_of(layers: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    return {part: rank for rank, parts in enumerate(layers) for part in parts}


def imported_parts(path: Path) -> set[str]:
    """What a file imports, with `from package import module` as package.module."""
    found = imported_modules(path)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom) and node.module in ("harness", "harness.environments"):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize(
    ("prefix", "layers"), [("harness", LAYERS), ("harness.environments", ENVIRONMENTS)], ids=["harness", "environments"]
)
@pytest.mark.long
def test_imports_go_down(prefix: str, layers: tuple[tuple[str, ...], ...]) -> None:
    rank = rank_of(layers)
    depth = prefix.count(".") + 1
    broken = []
    for path in sources("harness"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if ".".join(parts[:depth]) != prefix or parts[depth] == "__init__":
            continue
        part = parts[depth]
        assert part in rank, f"{path}: {part} stands on no floor of {prefix}; add it to the table above"
        for module in sorted(imported_parts(path)):
            words = module.split(".")
            if ".".join(words[:depth]) != prefix or len(words) == depth or words[depth] == part:
                continue
            other = words[depth]
            if rank[other] >= rank[part]:
                broken.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not broken, "\n".join(broken)


@pytest.mark.long
def test_no_module_imports_itself_over_others() -> None:
    """Imports for type checking count as well: who needs another's type in a circle stands in the wrong place."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for package in OURS for path in sources(package)
    }
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    # `from package import module` needs the module; `from module import name` the module itself.
                    inner = {f"{module}.{alias.name}" for alias in names}
                    graph.add_edges_from((name, other) for other in (inner & paths.keys()) or {module} & paths.keys())
                case ast.Import(names=names):
                    graph.add_edges_from((name, alias.name) for alias in names if alias.name in paths)
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert not circles, "\n".join(" <-> ".join(circle) for circle in circles)
