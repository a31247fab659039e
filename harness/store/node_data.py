"""The data directories of a run's nodes, nodes/<n>/data, once the run is over.

They take most of a run's space on the disk (three nodes of etcd: 368 MB), and people look only into those of a failure. So they are
removed when the run was good, and otherwise packed: nodes/<n>/data.tar.gz.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

DIRECTORY = "data"
ARCHIVE = "data.tar.gz"
_LEVEL = 1  # Logs that are written ahead are mostly zeros; higher levels take many times as long for little.

_log = logging.getLogger("themis")


def settle(nodes: Path, *, is_kept: bool) -> None:
    """Pack each `nodes`/<n>/data when it is to be kept, and remove it when not. A directory that cannot be packed or removed stays
    as it is, and the log says so: the run's verdict does not depend on it."""
    for directory in sorted(nodes.glob(f"*/{DIRECTORY}")):
        if directory.is_symlink() or not directory.is_dir():
            continue
        try:
            if is_kept and any(directory.iterdir()):
                pack(directory, directory.with_name(ARCHIVE))
            shutil.rmtree(directory)
        except (OSError, tarfile.TarError) as error:
            _log.warning("%s is left as it is: %s", directory, error)


def pack(directory: Path, archive: Path) -> None:
    """`archive` holds `directory` under its own name; it is whole, or it is not there. Raises OSError or TarError."""
    unfinished = archive.with_name(f".{archive.name}.new")
    try:
        with tarfile.open(unfinished, "w:gz", compresslevel=_LEVEL) as tar:
            tar.add(directory, directory.name, filter=_without_special_files)
        os.replace(unfinished, archive)
    finally:
        unfinished.unlink(missing_ok=True)


def _without_special_files(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # A named pipe or a device holds nothing.
    return member if member.isfile() or member.isdir() or member.issym() or member.islnk() else None


def kept(nodes: Path) -> Iterator[Path]:
    """What is kept of the data directories: archives, and the directories of runs that were cut off."""
    for name in (ARCHIVE, DIRECTORY):
        yield from sorted(nodes.glob(f"*/{name}"))
