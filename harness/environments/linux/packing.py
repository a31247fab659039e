"""Our code as an archive, for machines that do not share this one's files."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

import harness
import histories
import targets
from harness.environments.real.agent_clients import AGENT

DEPENDENCIES = ("aiohttp", "msgspec", "uvloop")
"""What `targets` imports of others; with what these need."""

CACHE = ("harness/__init__.py", "harness/environments/__init__.py", "harness/environments/write_cache")
"""What serves a data directory that can lose what was not synced: it imports nothing else of ours."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LEFT_OUT = (".git", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache")


def packages(target: object) -> list[Path]:
    """The top-level packages or modules that a node of this target imports: ours, and the target's own."""
    found = [Path(package.__file__ or "").resolve().parent for package in (targets, histories)]
    top = type(target).__module__.partition(".")[0]
    if top not in ("targets", "builtins", "__main__"):
        spec = importlib.util.find_spec(top)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin).resolve()
            found.append(origin.parent if origin.name == "__init__.py" else origin)
        elif spec is not None and spec.submodule_search_locations:
            found.append(Path(next(iter(spec.submodule_search_locations))).resolve())
    return found


def archive(paths: Iterable[tuple[Path, str]], is_bytecode_kept: bool) -> bytes:
    """A tar of files and folders, each under the name beside it. Compiled modules are good for the same
    Python only."""

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = Path(member.name).parts
        if any(part in _LEFT_OUT for part in parts) or ("__pycache__" in parts and not is_bytecode_kept):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
        for path, name in paths:
            tar.add(path, name, filter=chosen)
    return packed.getvalue()


def code(target: object, root: str, python_version: str) -> bytes:
    """A tar of the agent as root/agent.py, and of `packages` and CACHE below root/code; unpacked at /. root has no leading
    slash."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    paths = [(AGENT, f"{root}/agent.py"), *((path, f"{root}/code/{path.name}") for path in packages(target))]
    above = Path(harness.__file__).resolve().parents[1]
    paths += [(above / part, f"{root}/code/{part}") for part in CACHE]
    return archive(paths, is_bytecode_kept=python_version == here)


def unpack(data: bytes, directory: Path, *, outer: str = "") -> None:
    """Unpacks a tar below `directory`; whatever names it has, nothing is written elsewhere. outer: the folder that all of them
    are in, which is left out."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if outer:
                member.name = str(Path(member.name).relative_to(outer))
            tar.extract(member, directory, filter="data")


def copy_dependencies(directory: Path, say: Callable[[str], None]) -> bool:
    """Copies the distributions that nodes import from this interpreter's packages to below `directory`; returns whether that was
    possible."""
    needed = closure(DEPENDENCIES)
    if missing := sorted(set(DEPENDENCIES) - needed):
        say(f"{', '.join(missing)} is not installed here")
        return False
    for name in sorted(needed):
        files = list(installed_files(name))
        for relative, path in files:
            place = directory / relative
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        if not files:
            return False
    return True


def versions() -> list[str]:
    """The dependencies that are installed here, such as aiohttp==3.11.0, sorted."""
    return [f"{name}=={metadata.version(name)}" for name in sorted(closure(DEPENDENCIES))]


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they require, without extras, by their normal names; what is not installed here is left
    out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            required = metadata.distribution(name).requires or ()
        except metadata.PackageNotFoundError:
            continue
        if name in found:
            continue
        found.add(name)
        for requirement in required:
            _, _, marker = requirement.partition(";")
            if "extra" not in marker and (match := _NAME.match(requirement)):
                waiting.append(match[0])
    return found


def installed_files(name: str) -> Iterator[tuple[str, Path]]:
    """Where each file of a distribution lies below the packages' folder, and the file; commands of it are left out."""
    for file in metadata.distribution(name).files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            yield str(file), Path(str(file.locate()))
