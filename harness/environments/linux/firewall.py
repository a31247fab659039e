"""Cut and lossy links by iptables: one chain of our own on each node, which is rewritten as a whole.

A link (source, destination) is cut at the destination: its INPUT chain jumps to ours, which drops what comes from the
source's address, so that one direction can be cut alone. Nothing but the addresses of nodes is ever named in it: the
controller's own access, and everything else on the machine, passes as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from harness.environments.real.agent_clients import at_once
from harness.environments.real.executor import RUN_TIMEOUT_S, Ran
from nemesis.capabilities import Grudge, NodeId

Link = tuple[NodeId, NodeId]
"""(source, destination)."""

WAIT = ("-w", "5")
"""Seconds to wait for another program that changes rules at the same time."""


class Runner(Protocol):
    """Runs a command on a node: agents and executors do."""

    def run(
        self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S
    ) -> Ran: ...


class Rules(msgspec.Struct, frozen=True):
    """What one node's chains do. refused: sources that it does not hear. lost: source -> the share of its packets that is
    dropped here. doubled: destination -> the share of packets that leaves here twice."""

    refused: frozenset[NodeId] = frozenset()
    lost: Mapping[NodeId, float] = {}
    doubled: Mapping[NodeId, float] = {}


def restored(chain: str, addresses: Mapping[NodeId, str], rules: Rules, has_mangle: bool) -> str:
    """The input of `iptables-restore --noflush` after which the chain does exactly this."""
    lines = ["*filter", f":{chain} - [0:0]"]
    lines += [f"-A {chain} -s {addresses[source]} -j DROP" for source in sorted(rules.refused)]
    lines += [
        f"-A {chain} -s {addresses[source]} -m statistic --mode random --probability {share:.9f} -j DROP"
        for source, share in sorted(rules.lost.items())
    ]
    lines.append("COMMIT")
    if has_mangle:
        lines += ["*mangle", f":{chain} - [0:0]"]
        lines += [
            f"-A {chain} -d {addresses[to]} -m statistic --mode random --probability {share:.9f}"
            f" -j TEE --gateway {addresses[to]}"
            for to, share in sorted(rules.doubled.items())
        ]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


_RULE = re.compile(
    r"-A (?P<chain>\S+) -(?P<side>[sd]) (?P<address>[\d.]+)/32"
    r"(?: -m statistic --mode random --probability (?P<share>[\d.]+))? -j (?P<target>DROP|TEE)"
)


def parsed(chain: str, names: Mapping[str, NodeId], saved: str) -> Rules:
    """The rules of the chain, out of what `iptables -S` says of both tables."""
    refused: set[NodeId] = set()
    lost: dict[NodeId, float] = {}
    doubled: dict[NodeId, float] = {}
    for line in saved.splitlines():
        found = _RULE.match(line)
        if found is None or found["chain"] != chain or found["address"] not in names:
            continue
        node = names[found["address"]]
        if found["target"] == "TEE":
            doubled[node] = round(float(found["share"] or 1), 6)
        elif found["share"] is None:
            refused.add(node)
        else:
            lost[node] = round(float(found["share"]), 6)
    return Rules(frozenset(refused), lost, doubled)


class Firewall:
    """The chains of all nodes. Raises FaultError where one could not be changed."""

    def __init__(self, runner: Callable[[], Runner], addresses: Mapping[NodeId, str], chain: str) -> None:
        """chain: its name, at most 28 bytes. addresses: filled in before the first use."""
        assert len(chain) <= 28
        self._runner = runner
        self._addresses = addresses
        self._chain = chain
        self._rules: dict[NodeId, Rules] = {}
        self._dirty: set[NodeId] = set()
        self._installed: set[tuple[str, NodeId]] = set()

    def cut(self, grudge: Grudge) -> None:
        """Exactly these links are cut; lossy ones stay lossy."""
        self._write(
            {
                node: msgspec.structs.replace(self._known(node), refused=frozenset(grudge.get(node, ())))
                for node in self._addresses
            }
        )

    def lose(self, links: Collection[Link], share: float) -> None:
        """Exactly these links lose this share of their packets."""
        self._write(
            {
                node: msgspec.structs.replace(
                    self._known(node), lost={source: share for source, to in sorted(links) if to == node}
                )
                for node in self._addresses
            }
        )

    def double(self, links: Collection[Link], share: float) -> None:
        """Exactly these links deliver this share of their packets twice."""
        self._write(
            {
                node: msgspec.structs.replace(
                    self._known(node), doubled={to: share for source, to in sorted(links) if source == node}
                )
                for node in self._addresses
            }
        )

    def read(self) -> dict[NodeId, Rules]:
        """What each node's chains do, read back from its kernel."""
        names = {address: node for node, address in self._addresses.items()}
        nodes = sorted({node for _, node in self._installed})

        def reading(node: NodeId) -> Callable[[], Rules]:
            tables = [table for table in ("filter", "mangle") if (table, node) in self._installed]
            listing = [["iptables", *WAIT, "-t", table, "-S", self._chain] for table in tables]
            return lambda: parsed(
                self._chain, names, "".join(self._runner().run(node, argv).checked(node).text for argv in listing)
            )

        return at_once({node: reading(node) for node in nodes})

    def remove(self) -> None:
        """No chain of ours is left anywhere. Idempotent."""

        def removing(node: NodeId) -> Callable[[], None]:
            def work() -> None:
                for table, hook in (("filter", "INPUT"), ("mangle", "OUTPUT")):
                    if (table, node) in self._installed:
                        for argv in removal(self._chain, table, hook):
                            self._runner().run(node, argv).checked(node)
                        self._installed.discard((table, node))

            return work

        at_once({node: removing(node) for node in sorted({node for _, node in self._installed})})
        self._rules.clear()

    def _known(self, node: NodeId) -> Rules:
        return self._rules.get(node, Rules())

    def _write(self, wanted: Mapping[NodeId, Rules]) -> None:
        def writing(node: NodeId, rules: Rules) -> Callable[[], None]:
            def work() -> None:
                has_mangle = bool(rules.doubled) or ("mangle", node) in self._installed
                text = restored(self._chain, self._addresses, rules, has_mangle)
                restore = ["iptables-restore", *WAIT, "--noflush"]
                self._runner().run(node, restore, stdin=text.encode()).checked(node)
                self._hook(node, "filter", "INPUT")
                if has_mangle:
                    self._hook(node, "mangle", "OUTPUT")
                self._dirty.discard(node)

            return work

        # One whose write failed half way is written again: what it does is not known.
        changed = {node for node in wanted if node in self._dirty or wanted[node] != self._known(node)}
        self._rules.update(wanted)
        self._dirty |= changed
        at_once({node: writing(node, wanted[node]) for node in sorted(changed)})

    def _hook(self, node: NodeId, table: str, hook: str) -> None:
        """Let the kernel's chain jump to ours, once."""
        if (table, node) in self._installed:
            return
        base = ["iptables", *WAIT, "-t", table]
        if self._runner().run(node, [*base, "-C", hook, "-j", self._chain]).exit_code:
            self._runner().run(node, [*base, "-I", hook, "1", "-j", self._chain]).checked(node)
        self._installed.add((table, node))


def removal(chain: str, table: str, hook: str) -> list[list[str]]:
    """The commands that take a chain of ours away."""
    base = ["iptables", *WAIT, "-t", table]
    return [[*base, "-D", hook, "-j", chain], [*base, "-F", chain], [*base, "-X", chain]]
