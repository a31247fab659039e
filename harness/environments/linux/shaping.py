"""Slow, narrow and unruly links by tc: one tree on each node's interface, with a class for each other node.

A link is shaped where its packets leave. The tree is HTB (rate) with netem below it (slow, duplicate, reorder, corrupt), and
u32 filters by destination; everything else passes unshaped. With nothing to do there is no tree.

reorder: netem lets the rest of the packets overtake those that it delays. Where a link is also slow, more jitter does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from harness.environments.linux.firewall import Link, Runner
from harness.environments.real.agent_clients import at_once
from nemesis.capabilities import FaultError, NodeId

Parameters = Mapping[str, float]
Shape = Mapping[str, Parameters]
"""kind -> its parameters."""

NETEM_KINDS = frozenset({"slow", "duplicate", "reorder", "corrupt"})
UNSHAPED = "100Gbit"
"""The rate of a class that is not narrow, as tc prints it."""
REORDER_MS = 20
"""How far a reordered packet is held back: several times a round trip on one machine."""
QUEUE_PACKETS = 200
FIRST_CLASS = 0x10


def netem(shape: Shape) -> str:
    """The arguments of netem for this shape; empty when it has nothing to do."""
    words: list[str] = []
    slow, reorder = shape.get("slow"), shape.get("reorder")
    delay_ms = slow["delay_ms"] if slow else 0.0
    jitter_ms = slow["jitter_ms"] if slow else 0.0
    if reorder and slow:
        jitter_ms = max(jitter_ms, REORDER_MS)
    elif reorder:
        delay_ms = REORDER_MS
    if slow or reorder:
        words.append(f"delay {delay_ms:g}ms" + (f" {jitter_ms:g}ms" if jitter_ms else ""))
    if reorder and not slow:
        words.append(f"reorder {100 * (1 - reorder['probability']):g}%")
    for kind in ("duplicate", "corrupt"):
        if kind in shape:
            words.append(f"{kind} {100 * shape[kind]['probability']:g}%")
    return " ".join(words)


def tree(device: str, addresses: Sequence[str], shapes: Mapping[int, Shape]) -> str:
    """The input of `tc -batch` that makes the tree. addresses: of every node in order; shapes: index of a destination ->
    what happens on the way to it."""
    lines = [
        f"qdisc add dev {device} root handle 1: htb default 1",
        f"class add dev {device} parent 1: classid 1:1 htb rate {UNSHAPED} quantum 60000",
    ]
    for index, shape in sorted(shapes.items()):
        class_id = f"1:{FIRST_CLASS + index:x}"
        if narrow := shape.get("rate"):
            rate = f"rate {max(8, round(8 * narrow['bytes_per_s']))}bit burst 1600 cburst 1600 quantum 1600"
        else:
            rate = f"rate {UNSHAPED} quantum 60000"
        lines.append(f"class add dev {device} parent 1: classid {class_id} htb {rate}")
        below = netem(shape)
        queue = f"netem limit 1000 {below}" if below else f"pfifo limit {QUEUE_PACKETS}"
        lines.append(f"qdisc add dev {device} parent {class_id} handle {FIRST_CLASS + index:x}: {queue}")
        match = f"u32 match ip dst {addresses[index]}/32"
        lines.append(f"filter add dev {device} parent 1: protocol ip prio 1 {match} flowid {class_id}")
    return "\n".join(lines) + "\n"


def in_force(qdiscs: str, classes: str, filters: str) -> dict[int, dict[str, object]]:
    """Index of a destination -> kind -> what the kernel says of it, out of `tc -j qdisc`, `tc class` and `tc -j filter`.

    A class that no filter leads to does nothing.
    """
    led_to = {
        options["flowid"]
        for found in json.loads(filters or "[]")
        if isinstance(options := found.get("options"), dict) and "flowid" in options
    }
    found: dict[int, dict[str, object]] = {}
    for match in re.finditer(r"^class htb (1:([0-9a-f]+)) .*?\brate (\S+)", classes, re.MULTILINE):
        index = int(match[2], 16) - FIRST_CLASS
        if index >= 0 and match[1] in led_to:
            found[index] = {} if match[3].lower() == UNSHAPED.lower() else {"rate": match[3]}
    for qdisc in json.loads(qdiscs or "[]"):
        if qdisc.get("kind") != "netem":
            continue
        index = int(str(qdisc["parent"]).partition(":")[2], 16) - FIRST_CLASS
        if index in found:
            found[index].update(_netem_kinds(qdisc.get("options", {})))
    return found


def _netem_kinds(options: Mapping[str, object]) -> dict[str, object]:
    kinds: dict[str, object] = {}
    if "reorder" in options:
        kinds["reorder"] = {"reorder": options["reorder"], "delay": options.get("delay")}
    elif "delay" in options:
        kinds["slow"] = options["delay"]
    for kind in ("duplicate", "corrupt"):
        if kind in options:
            kinds[kind] = options[kind]
    return kinds


class Shaping:
    """The trees of all nodes. Raises FaultError where one could not be changed."""

    def __init__(
        self, runner: Callable[[], Runner], addresses: Mapping[NodeId, str], device: Callable[[NodeId], str]
    ) -> None:
        """addresses: filled in before the first use. device: the interface that leads from a node to the others."""
        self._runner = runner
        self._addresses = addresses
        self._device = device
        self._wanted: dict[str, tuple[frozenset[Link], Parameters]] = {}
        self._standing: set[NodeId] = set()
        """Nodes that have, or may have, a tree."""

    def disturb(self, kind: str, links: Collection[Link], parameters: Parameters) -> None:
        """Exactly these links are disturbed in this way; other kinds stay."""
        self._wanted.pop(kind, None)
        if links:
            self._wanted[kind] = (frozenset(links), parameters)
        self._write()

    def calm(self) -> None:
        """No tree is left. Idempotent."""
        self._wanted.clear()
        self._write()

    def read(self) -> dict[Link, dict[str, object]]:
        """Link -> kind -> what the kernel says of it, now; of trees that stand."""
        nodes = sorted(self._addresses)

        def reading(node: NodeId) -> Callable[[], dict[Link, dict[str, object]]]:
            def work() -> dict[Link, dict[str, object]]:
                device = self._device(node)
                said = [
                    self._runner().run(node, ["tc", *argv]).checked(node).text
                    for argv in (
                        ("-j", "qdisc", "show", "dev", device),
                        ("class", "show", "dev", device),
                        ("-j", "filter", "show", "dev", device, "parent", "1:"),
                    )
                ]
                return {(node, nodes[index]): kinds for index, kinds in in_force(*said).items()}

            return work

        answers = at_once({node: reading(node) for node in sorted(self._standing)})
        found: dict[Link, dict[str, object]] = {}
        for answer in answers.values():
            found.update(answer)
        # Reordering of a slow link is more jitter, which tc cannot tell from slowness.
        links, _ = self._wanted.get("reorder", (frozenset(), {}))
        for link in links:
            if "slow" in found.get(link, {}) and "slow" in self._wanted and link in self._wanted["slow"][0]:
                found[link]["reorder"] = found[link]["slow"]
        return found

    def _write(self) -> None:
        nodes = sorted(self._addresses)
        shapes: dict[NodeId, dict[int, dict[str, Parameters]]] = {}
        for kind, (links, parameters) in self._wanted.items():
            for source, to in links:
                shapes.setdefault(source, {}).setdefault(nodes.index(to), {})[kind] = parameters

        def writing(node: NodeId) -> Callable[[], None]:
            def work() -> None:
                device = self._device(node)
                if node in self._standing:
                    ended = self._runner().run(node, ["tc", "qdisc", "del", "dev", device, "root"])
                    if ended.exit_code and self._has_tree(node, device):
                        ended.checked(node)
                    self._standing.discard(node)
                if node in shapes:
                    self._standing.add(node)
                    text = tree(device, [self._addresses[name] for name in nodes], shapes[node])
                    self._runner().run(node, ["tc", "-batch", "-"], stdin=text.encode()).checked(node)

            return work

        at_once({node: writing(node) for node in sorted(self._standing | shapes.keys())})

    def _has_tree(self, node: NodeId, device: str) -> bool:
        found = self._runner().run(node, ["tc", "-j", "qdisc", "show", "dev", device]).checked(node)
        return any(qdisc.get("handle") == "1:" and qdisc.get("root") for qdisc in json.loads(found.text or "[]"))


def unavailable(kind: str, kinds: Collection[str]) -> FaultError:
    """What to raise for a kind of disturbance that the kernel has nothing for."""
    return FaultError(
        f"the kernel here cannot {kind} packets; it can {', '.join(sorted(kinds)) or 'nothing of the kind'}"
    )
