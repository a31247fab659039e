"""The network faults of the Linux kernel, written once for all environments whose nodes are on Linux machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.environments.linux import kernel_features
from harness.environments.linux.firewall import Firewall, Link
from harness.environments.linux.shaping import Shaping, unavailable
from harness.environments.real.agent_clients import Agents
from nemesis.capabilities import Grudge, NodeId, Reach


class LinuxLinks:
    """Implements nemesis.capabilities.Links by the firewall of each node; its evidence is datagrams between the agents.

    What is measured is the path between two machines, whatever their node processes do: a link to a killed or paused node
    is cut or answers as well. Only an end that has no agent any more is "down".
    """

    def __init__(self, agents: Callable[[], Agents], firewall: Firewall, packets: LinuxPackets) -> None:
        self._agents = agents
        self._firewall = firewall
        self._packets = packets
        self._grudge: Grudge = {}

    def drop(self, grudge: Grudge) -> None:
        """Exactly the links of the grudge are cut."""
        self._grudge = grudge
        self._firewall.cut(grudge)

    def heal(self) -> None:
        """No link is cut or disturbed."""
        self.drop({})
        self._packets.heal()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """destination -> source -> whether datagrams arrive, sent now."""
        # What is expected only decides how long to wait; the answer says what arrived.
        return self._agents().probe(lambda source, to: source in self._grudge.get(to, ()))


class LinuxPackets:
    """Implements nemesis.capabilities.Packets by iptables (loss, and duplicate where the kernel has TEE) and tc (the rest)."""

    def __init__(self, firewall: Firewall, shaping: Shaping, find_features: Callable[[], frozenset[str]]) -> None:
        """find_features: what the kernel has, as harness.environments.linux.kernel_features names it; asked once."""
        self._firewall = firewall
        self._shaping = shaping
        self._find_features = find_features
        self._features: frozenset[str] | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """What bad links there can be: without sch_netem in the kernel there are only loss and rate, and duplicate with xt_TEE."""
        return kernel_features.kinds(self._known_features())

    def disturb(self, kind: str, links: Sequence[Link], parameters: Mapping[str, float]) -> None:
        """Exactly these links are disturbed in this way."""
        if kind not in self.kinds:
            raise unavailable(kind, self.kinds)
        if kind == "loss":
            self._firewall.lose(links, parameters["probability"])
        elif kind == "duplicate" and "tee" in self._known_features():
            self._firewall.double(links, parameters["probability"])
        else:
            self._shaping.disturb(kind, links, parameters)

    def heal(self) -> None:
        """No link is disturbed."""
        self._firewall.lose((), 0)
        self._firewall.double((), 0)
        self._shaping.calm()

    def measure(self) -> Mapping[str, object]:
        """in_force: as iptables and tc list it; links: each disturbed one, with what they say of it."""
        found: dict[Link, dict[str, object]] = self._shaping.read()
        for node, rules in self._firewall.read().items():
            for source, share in rules.lost.items():
                found.setdefault((source, node), {})["loss"] = share
            for to, share in rules.doubled.items():
                found.setdefault((node, to), {})["duplicate"] = share
        in_force: dict[str, list[list[str]]] = {}
        links = []
        for (source, to), kinds in sorted(found.items()):
            if kinds:
                links.append({"source": source, "destination": to, "kinds": dict(sorted(kinds.items()))})
            for kind in sorted(kinds):
                in_force.setdefault(kind, []).append([source, to])
        return {"in_force": in_force, "links": links}

    def _known_features(self) -> frozenset[str]:
        if self._features is None:
            self._features = self._find_features()
        return self._features
