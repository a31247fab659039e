"""What a kernel and its tools can do to packets, found out by trying it where it harms nobody: a network namespace that has
nothing in it but a loopback that is down."""

from __future__ import annotations

from collections.abc import Collection

from harness.environments.linux.shaping import NETEM_KINDS

PROBE = ("sh", "-c")
SCRIPT = """
iptables -A INPUT -s 192.0.2.1 -j DROP && echo drop
iptables -A INPUT -s 192.0.2.1 -m statistic --mode random --probability 0.5 -j DROP && echo statistic
iptables -t mangle -A OUTPUT -d 192.0.2.1 -j TEE --gateway 192.0.2.1 && echo tee
tc qdisc add dev lo root handle 1: htb default 1 \\
&& tc class add dev lo parent 1: classid 1:10 htb rate 1mbit burst 1600 \\
&& tc filter add dev lo parent 1: protocol ip prio 1 u32 match ip dst 192.0.2.1/32 flowid 1:10 && echo htb \\
&& tc qdisc add dev lo parent 1:10 handle 10: netem delay 1ms && echo netem
true
"""
"""Prints a word for each thing that works. The text never changes, so that nothing from outside gets into a shell."""

ARGV = (*PROBE, SCRIPT)


def kinds(features: Collection[str]) -> frozenset[str]:
    """The kinds of nemesis.capabilities.Packets that can be had with these features."""
    found: set[str] = set()
    if "statistic" in features:
        found.add("loss")
        if "tee" in features:
            found.add("duplicate")
    if "htb" in features:
        found.add("rate")
    if "netem" in features:
        found |= NETEM_KINDS
    return frozenset(found)


def lacking(features: Collection[str]) -> tuple[str, ...]:
    """In words, what is missing for the other kinds, and how it is had."""
    found = []
    if "netem" not in features:
        found.append(
            "the kernel has no sch_netem, which slow, reorder and corrupt need (modprobe sch_netem, where it is a module)"
        )
    if "statistic" not in features:
        found.append("iptables has no match statistic, which loss and duplicate need (modprobe xt_statistic)")
    if "htb" not in features:
        found.append("tc or the kernel has no HTB, which rate needs (apt-get install iproute2; modprobe sch_htb)")
    return tuple(found)
