"""The import table of ARCHITECTURE.md, read from the source with `ast`: a layer that imports upwards fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("histories", "checkers", "nemesis", "targets", "harness")

ALLOWED: dict[str, set[str]] = {
    "histories": {"msgspec"},
    "checkers": {"histories", "msgspec", "numpy", "networkx"},
    "nemesis": {"histories", "msgspec"},
    "targets": {"histories", "msgspec", "aiohttp", "uvloop", "redis", "kazoo", "psycopg"},
    "harness": {
        *OURS,
        "msgspec",
        "aiohttp",
        "uvloop",
        "yaml",
        "numpy",
        "networkx",
        "click",
        "rich",
        "docker",
        "requests",
        "paramiko",
        "distributed",
        "pytest",
    },
}
"""Package -> what it may import beside the standard library and itself."""

CORE_ALLOWED = {"__future__", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools"}
CORE_ALLOWED |= {"hashlib", "heapq", "itertools", "math", "operator", "random", "typing", "zlib", "msgspec"}
CORES_BUILT_ON = {"twopc": ("targets.raft.",)}
"""Package of a core -> other cores that it consists of: the shards of 2pc may be Raft groups."""
CORE_FILES_OUTSIDE = {"target.py", "session.py"}
"""A core's target.py describes it to the harness (its command line, say), and session.py is its
clients' side; they are not part of the core."""


def sources(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "tests" not in path.relative_to(ROOT).parts)


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
            case ast.ImportFrom(level=level) if level > 0:
                pytest.fail(f"{path}:{node.lineno}: relative import; this project imports by full name")
    return found


@pytest.mark.parametrize("package", OURS)
@pytest.mark.long
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    files = sources(package)
    assert files, f"no sources below {package}/"
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in sorted(imported_modules(path))
        if (top := module.partition(".")[0]) not in ALLOWED[package] | {package} and top not in sys.stdlib_module_names
    ]
    assert not broken, "\n".join(broken)


def test_targets_know_of_histories_only_how_traces_are_written_json_is_read_and_text_is_printed() -> None:
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("targets")
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("histories")
        for module in (
            [f"histories.{name.name}" for name in node.names] if node.module == "histories" else [node.module]
        )
        if module not in ("histories.tracing", "histories.json_text", "histories.printing")
    ]
    assert not broken, "\n".join(broken)


def core_packages() -> list[Path]:
    return sorted({path.parent for path in (ROOT / "targets").rglob("core.py") if path.parent != ROOT / "targets"})


@pytest.mark.parametrize("directory", core_packages(), ids=lambda path: path.name)
def test_a_core_imports_only_the_contract_the_machines_and_its_own_package(directory: Path) -> None:
    package = directory.relative_to(ROOT / "targets").parts[0]  # A package may have several cores.
    own = f"targets.{package}"
    allowed = CORE_ALLOWED | {"histories.tracing", "targets.core", "targets.target"}
    files = [path for path in (ROOT / "targets" / package).rglob("*.py") if path.name not in CORE_FILES_OUTSIDE]
    files += (ROOT / "targets" / "machines").glob("*.py")
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in sorted(imported_modules(path))
        if module not in allowed and not module.startswith((own, "targets.machines", *CORES_BUILT_ON.get(package, ())))
    ]
    assert not broken, "\n".join(broken)


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    taken = [
        str(path.relative_to(ROOT))
        for package in OURS
        for path in sources(package)
        if path.stem in sys.stdlib_module_names and not path.stem.startswith("__")
    ]
    assert not taken, f"named like a standard module: {taken}"


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("--version", ("harness.run.plan", "checkers.linearizability", "targets.registry", "numpy")),
        ("cleanup --help", ("harness.run.plan", "checkers.linearizability", "numpy")),
        ("list --help", ("harness.run.plan", "checkers.linearizability.check", "asyncio")),
        ("test --help", ("networkx", "docker", "paramiko", "yaml", "harness.campaign.campaign_report")),
    ],
)
def test_a_command_waits_for_no_import_that_only_others_need(command: str, absent: tuple[str, ...]) -> None:
    code = (
        f"import sys; from harness.cli import run_command; run_command({command.split()}); print('\\0', *sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(absent) & set(ended.stdout.partition("\0")[2].split())
