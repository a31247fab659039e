"""Who may read the files of a run. They may hold data of the system under test, so that they are their owner's alone, unless the
run's folder is shared."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PRIVATE, SHARED = 0o700, 0o755
"""Modes of folders; a file in them has 0600 or 0644."""

_READ_BY_OTHERS = 0o005


def is_shared(directory: Path) -> bool:
    """Whether others may list the folder."""
    return directory.stat().st_mode & _READ_BY_OTHERS == _READ_BY_OTHERS


def file_mode(directory: Path) -> int:
    """The mode of a file in `directory`: who may list the folder may read the file."""
    return 0o644 if is_shared(directory) else 0o600


@contextlib.contextmanager
def created_by(*, is_shared: bool) -> Iterator[None]:
    """What this process and its children create inside is its owner's alone, or readable by all."""
    before = os.umask(0o022 if is_shared else 0o077)
    try:
        yield
    finally:
        os.umask(before)


def settle(run: Path) -> None:
    """Every file and folder below `run` has the mode that goes with the run's folder, those too that came from a container or from
    another machine with modes of their own; what is not ours stays as it is."""
    shared = is_shared(run)
    for directory, folders, files in os.walk(run):
        for names, mode in ((folders, SHARED if shared else PRIVATE), (files, 0o644 if shared else 0o600)):
            for name in names:
                path = os.path.join(directory, name)
                if not os.path.islink(path):
                    with contextlib.suppress(OSError):
                        os.chmod(path, mode)
