"""What a node's machine is sent: our packages and, where it lacks them, the modules that they import, as one tar.

Modules are taken from this process's own installation, which fits a machine with the same interpreter ABI and processor; on
others they must be installed. That they can be imported there is tried before anything is started.
"""

from __future__ import annotations

import importlib.util
import io
import platform as host
import sysconfig
import tarfile
import threading
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

from harness.environments.linux import packing

OURS = ("histories", "checkers", "nemesis", "targets", "harness")
SUFFIXES = (".py", ".so")
ENTRY_POINTS = "themis.targets"

_ONE_AT_A_TIME = threading.Lock()
"""Machines are examined in threads. Python 3.11 fills the table behind `sysconfig` at first use, and shows it half filled to a
second thread: the ABI was None then."""


def platform() -> tuple[str, str]:
    """The interpreter ABI and the processor that this process's compiled modules are made for."""
    with _ONE_AT_A_TIME:
        return str(sysconfig.get_config_var("SOABI")), host.machine()


def make(target_module: str, distributions: Collection[str]) -> bytes:
    """A gzipped tar of our packages, of the package that `target_module` is in, and of these distributions with all that
    they need. Tests and what is compiled of ours are left out: nodes need none of it."""
    files: dict[str, Path] = {}
    for name in dict.fromkeys((*OURS, target_module.partition(".")[0])):
        # A target that tests are made with is among them.
        without_tests = name in OURS and not target_module.startswith(f"{name}.tests")
        files.update(_sources(name, without_tests))
    for name in sorted(packing.closure(distributions)):
        found = packing.installed_files(name)
        files.update((at, path) for at, path in found if path.suffix in SUFFIXES and "tests" not in Path(at).parts)
    files.update(_entry_points())
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=3) as tar:
        for relative, path in sorted(files.items()):
            member = tar.gettarinfo(path, relative)
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(member, file)
    return data.getvalue()


def _sources(name: str, without_tests: bool) -> Iterator[tuple[str, Path]]:
    """Name in the tar, and file, of each source of a top-level package or module."""
    found = importlib.util.find_spec(name)
    if found is None:
        return
    if not found.submodule_search_locations:
        if found.origin:
            yield Path(found.origin).name, Path(found.origin)
        return
    for place in found.submodule_search_locations:
        for path in sorted(Path(place).rglob("*.py")):
            inside = path.relative_to(place)
            if not (without_tests and "tests" in inside.parts[:-1]):
                yield str(Path(name) / inside), path


def _entry_points() -> Iterator[tuple[str, Path]]:
    """What tells a node's registry of targets that other distributions have."""
    for distribution in metadata.distributions():
        if any(point.group == ENTRY_POINTS for point in distribution.entry_points):
            for file in distribution.files or ():
                if file.name in ("entry_points.txt", "METADATA") and file.parent.name.endswith(".dist-info"):
                    yield str(file), Path(str(file.locate()))
