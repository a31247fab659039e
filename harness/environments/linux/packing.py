"""Our code as an archive, for machines that do not share this one's files."""

from __future__ import annotations

import importlib.util
import io
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import histories
import targets
from harness.environments.real.agent_clients import AGENT

DEPENDENCIES = ("aiohttp", "msgspec", "uvloop")
"""What `targets` imports of others; with what these need."""

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
    """A tar of the agent as root/agent.py and of `packages` below root/code; unpacked at /. root has no leading slash."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    paths = [(AGENT, f"{root}/agent.py"), *((path, f"{root}/code/{path.name}") for path in packages(target))]
    return archive(paths, is_bytecode_kept=python_version == here)


def unpack(data: bytes, directory: Path, *, outer: str = "") -> None:
    """The files of a tar are below `directory`; nothing is written elsewhere, whatever it says. outer: the folder that all
    of them are in, which is left out."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if outer:
                member.name = str(Path(member.name).relative_to(outer))
            tar.extract(member, directory, filter="data")


def copy_dependencies(directory: Path, say: Callable[[str], None]) -> bool:
    """What nodes import of others is below `directory`, copied from this interpreter's packages; whether that could be."""
    for name in sorted(_closure(DEPENDENCIES)):
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            say(f"{name} is not installed here")
            return False
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            place = directory / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), place)
        if not distribution.files:
            return False
    return True


def versions() -> list[str]:
    """The dependencies that are installed here, such as aiohttp==3.11.0, sorted."""
    found = []
    for name in sorted(_closure(DEPENDENCIES)):
        try:
            found.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _closure(names: Iterable[str]) -> set[str]:
    """These distributions and what they need, as far as it is installed here; extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in required:
            text, _, marker = requirement.partition(";")
            needed = _name(text)
            if "extra" not in marker and _is_installed(needed):
                waiting.append(needed)
    return found


def _name(requirement: str) -> str:
    length = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:length].lower().replace("_", "-")


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
