"""Fetches the files of a node from its machine."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO

from harness.environments.ssh.executor import SshExecutor
from nemesis.capabilities import NodeId

COLLECT_TIMEOUT_S = 300.0


def fetch(executor: SshExecutor, node: NodeId, there: str, directory: Path) -> None:
    """Copies the regular files below `there` on the machine to below `directory`. Raises ExecutorFailed, OSError or TarError."""
    with tempfile.TemporaryFile() as file:
        ran = executor.fetch(node, ["tar", "-czf", "-", "-C", there, "."], file, COLLECT_TIMEOUT_S)
        # 1: a file changed while it was read, as the log of a node that runs does.
        if ran.exit_code > 1:
            ran.checked(node)
        file.seek(0)
        unpacked(file, directory)


def unpacked(archive: BinaryIO, directory: Path) -> None:
    """The regular files of a gzipped tar are below `directory`; whatever else is in it, or would lie elsewhere, is not.

    Raises OSError or tarfile.TarError.
    """
    with tarfile.open(fileobj=archive, mode="r:gz") as tar:
        for member in tar:
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            source = tar.extractfile(member) if member.isreg() and ".." not in parts else None
            if source is None:
                continue
            path = directory.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                while piece := source.read(1 << 20):
                    file.write(piece)
