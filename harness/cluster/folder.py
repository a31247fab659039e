"""Where a standing cluster keeps its files: a folder for each name, of this user alone, so that another terminal finds it by name.

$XDG_RUNTIME_DIR/themis, or themis-UID in the temporary directory
    NAME.lock        held by the process that keeps the cluster; the kernel lets it go with that process
    NAME/control     the socket on which it takes commands
    NAME/nodes/...   data and logs of the nodes, removed with the cluster
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
SOCKET_BYTES_MAX = 107
"""Longest path of a Unix socket (sockaddr_un)."""


def root() -> Path:
    """The folder of all clusters of this user; made where it is missing.

    Raises UsageError when others could write to it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(runtime, "themis") if runtime else Path(tempfile.gettempdir(), f"themis-{os.geteuid()}")
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
        found = path.lstat()
    except OSError as error:
        raise UsageError(f"{path}, where clusters keep their files: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageError(f"{path} must be a folder that only you can enter: remove it, or `chmod 700` it")
    return path


def folder_of(name: str) -> Path:
    """The folder of the cluster of this name, which need not exist. Raises UsageError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: give letters, digits, '-' and '_', at most 32, and a letter or digit first")
    return root() / name


def socket_of(name: str) -> Path:
    """The socket of the cluster of this name. Raises UsageError where its path would be too long for a socket."""
    path = folder_of(name) / "control"
    if len(os.fsencode(path)) > SOCKET_BYTES_MAX:
        raise UsageError(f"{path}: the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter one")
    return path


@contextlib.contextmanager
def held(name: str) -> Iterator[Path]:
    """An empty folder for a cluster of this name, which nobody else can have meanwhile. Nothing is left of it.

    Raises UsageError when a cluster of this name stands already.
    """
    path = folder_of(name)
    lock_path = path.with_name(f"{name}.lock")
    lock = _locked(lock_path)
    if lock is None:
        raise UsageError(
            f"a cluster named {name!r} is up already: `themis cluster down --name {name}` ends it, "
            "or give this one another --name"
        )
    try:
        shutil.rmtree(path, ignore_errors=True)  # Of a process that was killed.
        path.mkdir(0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        lock_path.unlink(missing_ok=True)
        os.close(lock)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock at `path`; None when another process has it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except FileNotFoundError:
            pass
        os.close(lock)  # Whoever had it has removed the file meanwhile: it protects nothing any more.
