"""Where to put the files of a node that a run could not collect because its controller was killed: `cleanup` collects them before
it removes what the run has left."""

from __future__ import annotations

from pathlib import Path

from harness.store.runs import RunDirectory
from nemesis.capabilities import NodeId


def place(run_id: str, directory: str, node: NodeId) -> Path | None:
    """The node's folder in the run's directory. None where that is gone, is another run's, or has files of the node.

    directory: what was noted of it when the run began; it may not be trusted.
    """
    run = RunDirectory(Path(directory))
    if not directory or node in ("", "..") or Path(node).name != node:
        return None
    found: Path = run.nodes / node
    if not run.spec.is_file() or run.run_id != run_id or (found.exists() and any(found.iterdir())):
        return None
    return found
