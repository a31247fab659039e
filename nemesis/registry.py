"""From names on the command line to families of faults, and whether a cluster and a target's fault model have room
for them.

    partition[:shape] kill[:target] pause[:target] restart-all[:rolling] clock[:kind] slow loss duplicate reorder
    corrupt rate disk[:kind]

and whatever the entry point group `themis.faults` adds: objects of nemesis.family.Family.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import msgspec

from nemesis.capabilities import Cluster, NodeId
from nemesis.family import CAPABILITIES, Entry, Family
from nemesis.fault import Fault
from nemesis.faults.clock import ClockFamily
from nemesis.faults.disk import DiskFamily
from nemesis.faults.kill import KillFamily
from nemesis.faults.packets import KINDS, PacketFamily
from nemesis.faults.partition import PartitionFamily
from nemesis.faults.pause import PauseFamily
from nemesis.faults.restart import RestartFamily
from nemesis.spelling import nearest, nearest_name

NONE = "none"
ENTRY_POINTS = "themis.faults"

BUILT_IN: tuple[Family, ...] = (
    # In the order of the final heals. Processes first: a link that leads to a dead or paused one cannot be measured.
    # Packets before the partition: on a lossy link a probe may fail.
    PauseFamily(),
    KillFamily(),
    RestartFamily(),
    DiskFamily(),
    *(PacketFamily(kind) for kind in KINDS),
    PartitionFamily(),
    ClockFamily(),
)


class UnknownFault(ValueError):
    """No fault has this name. `nearest`: the most similar known one, None when none is similar."""

    def __init__(self, name: str, known: Iterable[str], what: str = "fault") -> None:
        names = sorted(known)
        self.name = name
        self.nearest = nearest_name(name, names)
        super().__init__(f"unknown {what} {name!r}{nearest(name, names)}")


class Unavailable(ValueError):
    """The environment lacks what a chosen fault needs, or the target does not claim to survive it; the message
    names both."""


class FaultChoice(msgspec.Struct, frozen=True):
    """One chosen family. variants: those that may be planned; empty where the family has none.

    explicit: the variants were named, so that none of them may be left out quietly.
    """

    name: str
    variants: tuple[str, ...] = ()
    explicit: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """As on the command line: `partition`, or `partition:one`, `partition:ring`."""
        return tuple(f"{self.name}:{variant}" for variant in self.variants) if self.explicit else (self.name,)

    def __str__(self) -> str:
        return ",".join(self.names)


@cache
def families() -> Mapping[str, Family]:
    """Every family by name, the built-in ones first, in the order of the final heals.

    Raises ValueError when an entry point cannot be loaded or takes a name or an op that is taken.
    """
    found = {family.name: family for family in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            family: Family = point.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(f"entry point {ENTRY_POINTS}: {point.name} = {point.value}: {error}") from error
        taken = {f for other in found.values() for f in other.fs} & set(family.fs)
        if family.name in found or taken:
            clash = f"the name {family.name!r}" if family.name in found else f"the ops {', '.join(sorted(taken))}"
            raise ValueError(f"entry point {ENTRY_POINTS}: {point.name} = {point.value}: {clash} is taken")
        found[family.name] = family
    return found


def parse_nemesis(names: str | Sequence[str]) -> list[FaultChoice]:
    """`partition:ring,kill` as choices, in the order of the final heals; several variants of one family become one
    choice.

    Nothing or "none" is no fault. Raises UnknownFault for a name or a variant that does not exist.
    """
    parts = names.split(",") if isinstance(names, str) else list(names)
    known = families()
    chosen: dict[str, list[str]] = {}
    for part in (part.strip() for part in parts):
        if part in ("", NONE):
            continue
        name, colon, variant = part.partition(":")
        if name not in known:
            raise UnknownFault(name, known)
        variants = known[name].variants
        if colon and variant not in variants:
            if not variants:
                raise UnknownFault(part, [name])
            raise UnknownFault(part, [f"{name}:{other}" for other in variants])
        wanted = chosen.setdefault(name, [])
        # A bare name is all variants, which a named one beside it does not narrow.
        wanted.append(variant if colon else "")
    return [
        FaultChoice(name, known[name].variants)
        if "" in chosen[name]
        else FaultChoice(name, tuple(v for v in known[name].variants if v in chosen[name]), explicit=True)
        for name in known
        if name in chosen
    ]


class Offer(msgspec.Struct, frozen=True):
    """What an environment has: capability names, and the kinds of its packets and disks."""

    capabilities: frozenset[str]
    packet_kinds: frozenset[str] = frozenset()
    disk_kinds: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cluster: Cluster) -> Offer:
        """What this cluster has."""
        return cls(
            capabilities=frozenset(name for name in CAPABILITIES if getattr(cluster, name) is not None),
            packet_kinds=frozenset() if cluster.packets is None else frozenset(cluster.packets.kinds),
            disk_kinds=frozenset() if cluster.disks is None else frozenset(cluster.disks.kinds),
        )


def lacks(offer: Offer, family: Family, variant: str) -> str | None:
    """What `offer` lacks for this variant, in words; None when it has all."""
    needs = family.needs(variant)
    without = [f"no {name}" for name in needs.capabilities if name not in offer.capabilities]
    if not without:
        without += [f"no packet kind {kind!r}" for kind in needs.packet_kinds if kind not in offer.packet_kinds]
        without += [f"no disk kind {kind!r}" for kind in needs.disk_kinds if kind not in offer.disk_kinds]
    return ", ".join(without) if without else None


def missing(cluster: Cluster | Offer, choice: FaultChoice, environment: str = "this environment") -> str | None:
    """Why `environment` cannot do this choice, naming both; None when it can.

    A choice without explicit variants needs room for one of them: `available` narrows it to those.
    """
    offer = cluster if isinstance(cluster, Offer) else Offer.of(cluster)
    family = families()[choice.name]
    reasons = {variant: lacks(offer, family, variant) for variant in choice.variants or ("",)}
    refused = {variant: reason for variant, reason in reasons.items() if reason is not None}
    if not refused or (not choice.explicit and len(refused) < len(reasons)):
        return None
    variant, reason = next(iter(refused.items()))
    name = f"{choice.name}:{variant}" if choice.explicit else choice.name
    return f"the fault {name} cannot run in {environment}: it has {reason}"


def available(
    cluster: Cluster | Offer, choices: Sequence[FaultChoice], environment: str = "this environment"
) -> list[FaultChoice]:
    """The choices with the variants that `environment` can do. Raises Unavailable as `missing` says."""
    offer = cluster if isinstance(cluster, Offer) else Offer.of(cluster)
    for choice in choices:
        reason = missing(offer, choice, environment)
        if reason is not None:
            raise Unavailable(reason)
    return [
        _narrowed(choice, [v for v in choice.variants if not lacks(offer, families()[choice.name], v)])
        for choice in choices
    ]


def survived(survives: Collection[str], choice: FaultChoice, variant: str) -> bool:
    """Whether a fault model with these names (`kill`, `disk/lose-unsynced`; `:` reads as `/`) has this variant in
    it."""
    names = {name.replace(":", "/") for name in survives}
    return any(name in names for name in families()[choice.name].claims(variant))


def within_model(choices: Sequence[FaultChoice], survives: Collection[str]) -> list[FaultChoice]:
    """The choices with the variants that the fault model has in it.

    Raises Unavailable for a choice of which nothing is left, or of which a variant that was named is not in it.
    """
    kept: list[FaultChoice] = []
    for choice in choices:
        inside = [variant for variant in choice.variants or ("",) if survived(survives, choice, variant)]
        outside = [variant for variant in choice.variants or ("",) if variant not in inside]
        if outside and (choice.explicit or not inside):
            name = f"{choice.name}:{outside[0]}" if choice.explicit else choice.name
            raise Unavailable(
                f"the fault {name} is outside the target's fault model ({', '.join(sorted(survives)) or 'no faults'}); "
                "--beyond-model runs it all the same"
            )
        kept.append(_narrowed(choice, inside))
    return kept


def _narrowed(choice: FaultChoice, variants: Collection[str]) -> FaultChoice:
    return msgspec.structs.replace(choice, variants=tuple(v for v in choice.variants if v in variants))


def family_of(f: str) -> Family:
    """The first family that takes op `f`. Raises UnknownFault."""
    for family in families().values():
        if f in family.fs:
            return family
    raise UnknownFault(f, {known for family in families().values() for known in family.fs}, what="op")


def choices_of(entries: Iterable[Entry], nodes: Collection[NodeId]) -> list[FaultChoice]:
    """The choices that could have planned these entries: for what a schedule from a file needs and how it is healed."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        family = family_of(entry.f)
        found.setdefault(family.name, set())
        variant = family.check(entry.f, entry.value, nodes)
        if variant:
            found[family.name].add(variant)
    return [
        FaultChoice(name, tuple(v for v in family.variants if v in found[name]) or family.variants, bool(found[name]))
        for name, family in families().items()
        if name in found
    ]


def build_faults(choices: Iterable[FaultChoice], cluster: Cluster) -> list[Fault]:
    """The faults of these choices, in the order of the final heals; families that share a fault share one."""
    chosen = {choice.name for choice in choices}
    faults: list[Fault] = []
    for name, family in families().items():
        if name in chosen and not any(family.fs <= fault.fs for fault in faults):
            faults.append(family.build(cluster))
    return faults


def final_ops(choices: Iterable[FaultChoice]) -> list[tuple[str, Any]]:
    """The (f, value) that a run's heal phase does, once each: whatever these choices did is then undone."""
    chosen = {choice.name for choice in choices}
    ops: list[tuple[str, Any]] = []
    for name, family in families().items():
        if name in chosen:
            ops.extend(op for op in family.final_ops() if op not in ops)
    return ops
