"""What the nemesis may do to nodes that are processes on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from random import Random

from harness.environments.local.link_proxies import KINDS
from harness.environments.local.supervisor_client import MonotonicSpan, Supervision
from nemesis.capabilities import FaultError, Grudge, NodeId, ProcessState, Reach, Span, Spans


class LocalLinks:
    """Implements nemesis.capabilities.Links by the proxies."""

    def __init__(self, supervision: Callable[[], Supervision], nodes: Sequence[NodeId]) -> None:
        self._supervision = supervision
        self._nodes = nodes

    def drop(self, grudge: Grudge) -> None:
        """See Links."""
        self._supervision().cut([(source, to) for to, refused in sorted(grudge.items()) for source in sorted(refused)])

    def heal(self) -> None:
        """See Links."""
        self._supervision().cut([])
        self._supervision().calm()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """See Links; each probe is a connection through the proxy, and what counts is that the destination's kernel has
        acknowledged its bytes. A paused process is reached: its kernel is."""
        matrix: dict[NodeId, dict[NodeId, Reach]] = {node: {} for node in self._nodes}
        reach: Reach
        for source, to, reach, _ in self._supervision().probe():
            assert reach == "answers" or reach == "cut" or reach == "down"
            matrix[to][source] = reach
        return matrix


class LocalPackets:
    """Implements nemesis.capabilities.Packets by the proxies."""

    kinds = KINDS

    def __init__(self, supervision: Callable[[], Supervision]) -> None:
        self._supervision = supervision

    def disturb(self, kind: str, links: Sequence[tuple[NodeId, NodeId]], parameters: Mapping[str, float]) -> None:
        """See Packets."""
        if kind not in self.kinds:
            raise FaultError(f"links on this machine cannot {kind}; they can {', '.join(sorted(self.kinds))}")
        self._supervision().disturb(kind, links, parameters)

    def heal(self) -> None:
        """See Packets."""
        self._supervision().calm()

    def measure(self) -> Mapping[str, object]:
        """in_force: as the proxies say; links: each disturbed one with its parameters and how many ms a probe took on it,
        None when it did not arrive."""
        bad = [state for state in self._supervision().network() if state["bad"]]
        in_force: dict[str, list[list[str]]] = {}
        for state in bad:
            for kind in state["bad"]:
                in_force.setdefault(kind, []).append([state["source"], state["destination"]])
        took_ms = {(source, to): ms for source, to, _, ms in self._supervision().probe()} if bad else {}
        links = [
            {
                "source": state["source"],
                "destination": state["destination"],
                "bad": state["bad"],
                "probe_ms": took_ms.get((state["source"], state["destination"])),
            }
            for state in bad
        ]
        return {"in_force": in_force, "links": links}


class LocalProcesses:
    """Implements nemesis.capabilities.Processes by the supervisor. start: starts nodes, and says when; answering: see
    NodeAccess; resumed: told which nodes run again after a pause; run_ns: a monotonic time on the run's clock."""

    def __init__(
        self,
        supervision: Callable[[], Supervision],
        nodes: Sequence[NodeId],
        start: Callable[[Collection[NodeId]], Mapping[NodeId, MonotonicSpan]],
        answering: Callable[[Collection[NodeId], float], frozenset[NodeId]],
        resumed: Callable[[Collection[NodeId]], None],
        run_ns: Callable[[int], int],
    ) -> None:
        self._supervision = supervision
        self._nodes = nodes
        self._start = start
        self.answering = answering
        self._resumed = resumed
        self._run_ns = run_ns

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        return self._on_run_clock(self._supervision().signal(nodes, "SIGKILL"))

    def start(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes. One that ends by itself again is no error here: `states` shows it."""
        states = self.states()
        return self._on_run_clock(self._start([node for node in sorted(nodes) if states[node] == "dead"]))

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        return self._on_run_clock(self._supervision().signal(nodes, "SIGSTOP"))

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        states = self.states()
        paused = [node for node in sorted(nodes) if states[node] == "paused"]
        spans = self._on_run_clock(self._supervision().signal(paused, "SIGCONT"))
        self._resumed(paused)
        return spans

    def _on_run_clock(self, spans: Mapping[NodeId, MonotonicSpan]) -> Spans:
        return {node: Span(self._run_ns(begin_ns), self._run_ns(end_ns)) for node, (begin_ns, end_ns) in spans.items()}

    def states(self) -> Mapping[NodeId, ProcessState]:
        """See Processes."""
        found = self._supervision().states()
        states: dict[NodeId, ProcessState] = {}
        for node in self._nodes:
            state = found.get(node, "dead")
            states[node] = "running" if state == "running" else "paused" if state == "paused" else "dead"
        return states


class LocalDisks:
    """Implements nemesis.capabilities.Disks on the files of dead nodes. What the kernel has in its cache survives a kill, so
    there is no losing of unsynced writes here."""

    kinds = frozenset({"truncate", "bitflip", "wipe"})

    def __init__(self, data_dirs: Mapping[NodeId, Path], processes: LocalProcesses, rng: Random) -> None:
        self._data_dirs = data_dirs
        self._processes = processes
        self._rng = rng

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        """See Disks. truncate and bitflip strike the file that was written last."""
        if kind not in self.kinds:
            raise FaultError(f"disks on this machine cannot {kind}; they can {', '.join(sorted(self.kinds))}")
        states = self._processes.states()
        alive = sorted(node for node in nodes if states[node] != "dead")
        if alive:
            raise FaultError(f"{alive[0]} is {states[alive[0]]}: only the disk of a dead node is damaged")
        done: dict[NodeId, object] = {}
        for node in sorted(nodes):
            files = [path for path in sorted(self._data_dirs[node].rglob("*")) if path.is_file()]
            if kind == "wipe":
                shutil.rmtree(self._data_dirs[node])
                self._data_dirs[node].mkdir(parents=True)
                done[node] = {"removed": [str(path.relative_to(self._data_dirs[node])) for path in files]}
                continue
            written = [path for path in files if path.stat().st_size]
            if not written:
                continue
            path = max(written, key=lambda path: path.stat().st_mtime_ns)
            if kind == "truncate":
                done[node] = _truncate(path, int(parameters.get("bytes", 1)))
            else:
                done[node] = _flip(path, int(parameters.get("bits", 1)), self._rng)
        return done

    def heal(self) -> None:
        """Nothing lasts here."""

    def measure(self) -> Mapping[str, object]:
        """Nothing lasts here."""
        return {"in_force": {}}


def _truncate(path: Path, byte_count: int) -> dict[str, object]:
    size_before = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(0, size_before - byte_count))
    return {"file": path.name, "bytes_before": size_before, "bytes_after": path.stat().st_size}


def _flip(path: Path, bit_count: int, rng: Random) -> dict[str, object]:
    size = path.stat().st_size
    positions = sorted(rng.sample(range(size * 8), min(bit_count, size * 8)))
    with path.open("r+b") as file:
        for position in positions:
            file.seek(position // 8)
            byte = file.read(1)[0] ^ (1 << position % 8)
            file.seek(position // 8)
            file.write(bytes([byte]))
    return {"file": path.name, "bits": len(positions), "bytes": [position // 8 for position in positions[:16]]}
