"""What the nemesis may do to the links between nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.environments.local.link_proxies import KINDS
from harness.environments.local.supervisor_client import Supervision
from nemesis.capabilities import FaultError, Grudge, NodeId, Reach


class LocalLinks:
    """Implements nemesis.capabilities.Links by the proxies."""

    def __init__(self, supervision: Callable[[], Supervision], nodes: Sequence[NodeId]) -> None:
        self._supervision = supervision
        self._nodes = nodes

    def drop(self, grudge: Grudge) -> None:
        """Exactly the links of the grudge are cut. Raises FaultError where nodes are connected past them."""
        supervision = self._supervision()
        supervision.cut([(source, to) for to, refused in sorted(grudge.items()) for source in sorted(refused)])
        refuse_bypasses(supervision)

    def heal(self) -> None:
        """No link is cut or disturbed."""
        self._supervision().cut([])
        self._supervision().calm()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """destination -> source -> whether bytes arrive: each probe is a connection through the proxy, and what counts is that the
        destination's kernel has acknowledged its bytes. A paused process is reached: its kernel is."""
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
        """Exactly these links are disturbed in this way."""
        if kind not in self.kinds:
            raise FaultError(f"links on this machine cannot {kind}; they can {', '.join(sorted(self.kinds))}")
        self._supervision().disturb(kind, links, parameters)

    def heal(self) -> None:
        """No link is disturbed."""
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


def refuse_bypasses(supervision: Supervision) -> None:
    """Raises FaultError when two nodes are connected otherwise than through their link: a partition would not part them."""
    if found := supervision.bypasses():
        source, to, address = found[0]
        raise FaultError(
            f"{source} is connected to {to} at {address}, where {to} listens, and not through the link between them: a "
            "partition would not part them. Have the program name its members by the addresses of `place.nodes` (its own too)"
        )
