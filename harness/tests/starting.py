"""Nodes of a test's environment started again, and waited for."""

from __future__ import annotations

from collections.abc import Collection

from nemesis.capabilities import Cluster


def start(cluster: Cluster, nodes: Collection[str]) -> None:
    """Those of the nodes that were dead run, and each of them answers, unless it has ended again."""
    assert cluster.processes is not None
    started = cluster.processes.start(nodes)
    answering = cluster.processes.answering(sorted(started), 20.0)
    states = cluster.processes.states()
    assert {node for node in started if states[node] == "running"} <= answering
