"""Which fault which environment can do, and what that needs of the machine: for docs/faults.md, `themis doctor` and the
message that refuses a fault.

Environments of machines find out only when they are there what their kernel can do; here stands what can be had at best.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from harness.environments.linux import kernel_features
from harness.environments.linux.shaping import NETEM_KINDS
from harness.environments.local import link_proxies
from harness.environments.sim.capabilities import SimDisks, SimPackets
from nemesis import registry
from nemesis.family import CAPABILITIES, Family
from nemesis.faults.disk import CRASHES
from nemesis.registry import Offer

FEATURES = ("drop", "statistic", "tee", "htb", "netem")
"""All that kernel_features can find."""


class Ability(msgspec.Struct, frozen=True):
    """What one environment can do at best. needs: what a capability or a kind takes, where that is not always there."""

    offer: Offer
    needs: Mapping[str, str] = {}


MEMBERS = "a target whose members can change, such as raft or etcd"
BACKUPS = "raft, paxos or gossip"
PROGRAMS = "of programs outside the project: libfaketime"
STORED = frozenset({"truncate", "bitflip", "wipe", *CRASHES})
"""What can be done to the files of a dead node in every environment of processes."""
REAL = frozenset(CAPABILITIES) - {"moments"}
"""Real time does not stop where a trace says that something has just happened."""
_MACHINES = Ability(
    Offer(REAL - {"backups"}, kernel_features.kinds(FEATURES), STORED | {"full"}),
    {
        "links": "root, iptables",
        "loss": "root, iptables with the match statistic",
        "rate": "root, tc, kernel with sch_htb",
        **dict.fromkeys(NETEM_KINDS, "root, tc, kernel with sch_netem"),
        "duplicate": "root, iptables with TEE, or kernel with sch_netem",
        "full": "-e data_mib=64",
        **dict.fromkeys(CRASHES, "root, /dev/fuse"),
        "clocks": PROGRAMS,
        "members": MEMBERS,
    },
)
ABILITIES: Mapping[str, Ability] = {
    "sim": Ability(
        Offer(frozenset(CAPABILITIES), SimPackets.kinds, SimDisks.kinds), {"members": MEMBERS, "backups": BACKUPS}
    ),
    "local": Ability(
        Offer(REAL, link_proxies.KINDS, STORED),
        {
            "clocks": PROGRAMS,
            "members": MEMBERS,
            "backups": BACKUPS,
            **dict.fromkeys(CRASHES, "/dev/fuse, and root or fuse3"),
        },
    ),
    "netns": _MACHINES,
    "docker": _MACHINES,
    "ssh": Ability(
        _MACHINES.offer,
        {**_MACHINES.needs, "clocks": f"{PROGRAMS}, or root and --allow-system-clock"},
    ),
}


def need(environment: str, family: Family, variant: str) -> str | None:
    """What `variant` needs in this environment, "" where it needs nothing; None where it cannot be had at all."""
    ability = ABILITIES[environment]
    if registry.lacks(ability.offer, family, variant) is not None:
        return None
    needs = family.needs(variant)
    wanted = (*needs.capabilities, *needs.packet_kinds, *needs.disk_kinds)
    return "; ".join(ability.needs[name] for name in wanted if name in ability.needs)


def environments_with(family: Family, variant: str) -> list[str]:
    """The environments that can do this fault, given what it needs; sorted."""
    return sorted(name for name in ABILITIES if need(name, family, variant) is not None)


def rows() -> list[tuple[str, dict[str, str | None]]]:
    """Each built-in fault, by its name on the command line, with what it needs in each environment. Variants that need the same
    stand in one row."""
    found: list[tuple[str, dict[str, str | None]]] = []
    for family in registry.BUILT_IN:
        groups: dict[tuple[str | None, ...], list[str]] = {}
        for variant in family.variants or ("",):
            groups.setdefault(tuple(need(name, family, variant) for name in ABILITIES), []).append(variant)
        for cells, variants in groups.items():
            name = family.name if len(groups) == 1 else f"{family.name}:{', '.join(variants)}"
            found.append((name, dict(zip(ABILITIES, cells, strict=True))))
    return found


def markdown() -> str:
    """The table of docs/faults.md."""
    lines = [f"| fault | {' | '.join(ABILITIES)} |", f"| --- |{' --- |' * len(ABILITIES)}"]
    for name, cells in rows():
        lines.append(f"| `{name}` | {' | '.join('-' if cell is None else cell or 'yes' for cell in cells.values())} |")
    return "\n".join(lines)
