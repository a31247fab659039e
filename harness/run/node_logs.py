"""Looks in the collected logs of a program's nodes for what must not be there, and for core dumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from checkers.log_alarms import CHECKER, LogLine, log_alarms
from checkers.verdict import Verdict
from targets.target import Program, Target

LOGS = ("*.log", "*.log.*")
CORE_DUMPS = ("core", "core.[0-9]*", "*.core")
"""As the kernel and Debian name them in a process's working directory, which is the node's folder."""


def verdicts(target: Target, directory: Path, nodes: Sequence[str]) -> Mapping[str, Verdict]:
    """logs: the verdict on the logs below `directory`/nodes; nothing for a target that names no alarms."""
    if not isinstance(target, Program) or not target.log_alarms:
        return {}
    folders = [(node, directory / "nodes" / node) for node in nodes]
    dumps = [(node, path.name) for node, folder in folders for path in _files(folder, CORE_DUMPS)]
    return {CHECKER: log_alarms(_lines(folders), target.log_alarms, dumps)}


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The regular files there that match; a link may lead anywhere, so none is followed."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _lines(folders: Sequence[tuple[str, Path]]) -> Iterator[LogLine]:
    for node, folder in folders:
        for path in _files(folder, LOGS):
            with path.open(errors="replace") as file:
                for number, text in enumerate(file, 1):
                    yield LogLine(node, path.name, number, text.rstrip("\n"))
