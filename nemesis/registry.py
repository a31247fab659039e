"""Finds the families of faults that a command line names, and says whether a cluster and a target's fault model allow them.

    partition[:shape] kill[:target] pause[:target] restart-all[:rolling] clock[:kind] slow loss duplicate reorder late
    corrupt rate disk[:kind] transfer membership[:shape] moment[:which] restore[:shape]

and whatever the entry point group `themis.faults` adds, or `package.module:Family` names (nemesis.outside loads them).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from nemesis import outside
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import CAPABILITIES, Entry, Family
from nemesis.faults.clock import ClockFamily
from nemesis.faults.disk import DiskFamily
from nemesis.faults.kill import KillFamily
from nemesis.faults.membership import MembershipFamily
from nemesis.faults.moment import MomentFamily
from nemesis.faults.packets import KINDS, PacketFamily
from nemesis.faults.partition import PartitionFamily
from nemesis.faults.pause import PauseFamily
from nemesis.faults.restart import RestartFamily
from nemesis.faults.restore import RestoreFamily
from nemesis.faults.transfer import TransferFamily
from nemesis.spelling import nearest, nearest_name

NONE = "none"

BUILT_IN: tuple[Family, ...] = (
    # In the order of the final heals. Processes first: a link that leads to a dead or paused one cannot be measured.
    # Packets before the partition: on a lossy link a probe may fail.
    PauseFamily(),
    KillFamily(),
    RestartFamily(),
    RestoreFamily(),
    DiskFamily(),
    *(PacketFamily(kind) for kind in KINDS),
    PartitionFamily(),
    MomentFamily(),  # Before the clocks: only the clock of a process that runs can be read.
    ClockFamily(),
    TransferFamily(),
    MembershipFamily(),  # Last: members come back only where the network and the processes are whole.
)


class UnknownFault(ValueError):
    """No fault has this name. `nearest`: the most similar known one, None when none is similar."""

    def __init__(self, name: str, known: Iterable[str], what: str = "fault", note: str = "") -> None:
        names = sorted(known)
        self.name = name
        self.nearest = nearest_name(name, names)
        super().__init__(f"unknown {what} {name!r}{nearest(name, names)}{note}")


class Unavailable(ValueError):
    """The environment lacks what a chosen fault needs, or the target does not claim to survive it; the message
    names both. refused: the family and the variant that an environment lacks something for; None for other reasons."""

    def __init__(self, message: str, refused: tuple[Family, str] | None = None) -> None:
        self.refused = refused
        super().__init__(message)


class FaultChoice(msgspec.Struct, frozen=True):
    """One chosen family. variants: those that may be planned; empty where the family has none.

    explicit: the user named the variants, so that none of them may be left out silently.
    """

    name: str
    variants: tuple[str, ...] = ()
    explicit: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """As on the command line: `partition`, or `partition:one`, `partition:ring`; the name of a family from outside that was
        named by its path is that path."""
        name = next((path for path, family in _named.items() if family.name == self.name), self.name)
        return tuple(f"{name}:{variant}" for variant in self.variants) if self.explicit else (name,)

    def __str__(self) -> str:
        return ",".join(self.names)


_named: dict[str, Family] = {}
"""The families that a `package.module:Family` named, by that path."""


@cache
def _installed() -> Mapping[str, Family]:
    return outside.installed({family.name for family in BUILT_IN})


def families() -> Mapping[str, Family]:
    """Every family by name, the built-in ones first, in the order of the final heals: then those of entry points, then those that
    `parse_nemesis` was given by their paths. Raises BadFamily when the family of an entry point cannot be used."""
    found: dict[str, Family] = {family.name: family for family in BUILT_IN}
    found.update(_installed())
    found.update((family.name, family) for family in _named.values())
    return found


def parse_nemesis(names: str | Sequence[str], roles: Collection[str] = ()) -> list[FaultChoice]:
    """`partition:ring,kill` as choices, in the order of the final heals; several variants of one family become one
    choice. `kill:coordinator` names a role of the target, where `roles` has it, and `package.module:Family` a family from
    outside, which is known by its name from then on.

    Nothing or "none" is no fault. Raises UnknownFault for a name or a variant that does not exist, BadFamily for a family
    that cannot be used.
    """
    parts = names.split(",") if isinstance(names, str) else list(names)
    chosen: dict[str, list[str]] = {}
    for part in (part.strip() for part in parts):
        if part in ("", NONE):
            continue
        name, colon, variant = _split(part)
        known = families()
        if name not in known:
            raise UnknownFault(name, known)
        family = known[name]
        if colon and variant not in family.variants and not (family.takes_roles and variant in roles):
            raise _unknown_variant(family, variant, roles)
        wanted = chosen.setdefault(name, [])
        # A bare name is all variants, which a named one beside it does not narrow.
        wanted.append(variant if colon else "")
    return [
        FaultChoice(name, family.variants)
        if "" in chosen[name]
        else FaultChoice(name, tuple(v for v in (*family.variants, *sorted(roles)) if v in chosen[name]), explicit=True)
        for name, family in families().items()
        if name in chosen
    ]


def _split(part: str) -> tuple[str, str, str]:
    """A fault of the command line as name, colon, variant. A `package.module:Family` is loaded, and has the family's name. A
    module without a package is told from a family by what follows it: classes and constants begin with a capital."""
    name, colon, rest = part.partition(":")
    if not colon or not ("." in name or (rest[:1].isupper() and name not in families())):
        return name, colon, rest
    attribute, colon, variant = rest.partition(":")
    path = f"{name}:{attribute}"
    if path not in _named:
        family = outside.loaded(path, f"the fault {path}")
        if family.name in families():
            raise outside.BadFamily(f"the fault {path}: the name {family.name!r} is taken")
        _named[path] = family
    return _named[path].name, colon, variant


def load_named(names: Iterable[str]) -> None:
    """Load the families that are paths among these names of a command line; they are known from now on. Raises BadFamily."""
    for name in names:
        _split(name)


def _unknown_variant(family: Family, variant: str, roles: Collection[str]) -> UnknownFault:
    part = f"{family.name}:{variant}"
    known = [f"{family.name}:{other}" for other in family.variants] or [family.name]
    if not family.takes_roles:
        return UnknownFault(part, known)
    has = f"the roles of this target are {', '.join(sorted(roles))}" if roles else "this target has no roles"
    return UnknownFault(part, [*known, *(f"{family.name}:{role}" for role in sorted(roles))], note=f"; {has}")


class Offer(msgspec.Struct, frozen=True):
    """What an environment has: capability names, and the kinds of its packets and disks."""

    capabilities: frozenset[str]
    packet_kinds: frozenset[str] = frozenset()
    disk_kinds: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cluster: Cluster) -> Offer:
        """What this cluster has."""
        return cls(
            capabilities=frozenset(name for name in CAPABILITIES if getattr(cluster, name, None) is not None),
            packet_kinds=frozenset() if cluster.packets is None else frozenset(cluster.packets.kinds),
            disk_kinds=frozenset() if cluster.disks is None else frozenset(cluster.disks.kinds),
        )


def lacks(offer: Offer, family: Family, variant: str) -> str | None:
    """What `offer` lacks for this variant, in words; None when it lacks nothing."""
    needs = family.needs(variant)
    without = [f"no {name}" for name in needs.capabilities if name not in offer.capabilities]
    if not without:
        for what, kinds, offered in (
            ("packet", needs.packet_kinds, offer.packet_kinds),
            ("disk", needs.disk_kinds, offer.disk_kinds),
        ):
            has = f"its {what} kinds are {', '.join(sorted(offered))}" if offered else f"it has no {what} kinds"
            without += [f"no {what} kind {kind!r} ({has})" for kind in kinds if kind not in offered]
    return ", ".join(without) if without else None


def missing(cluster: Cluster | Offer, choice: FaultChoice, environment: str = "this environment") -> Unavailable | None:
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
    return Unavailable(f"the fault {name} cannot run in {environment}: it has {reason}", (family, variant))


def available(
    cluster: Cluster | Offer, choices: Sequence[FaultChoice], environment: str = "this environment"
) -> list[FaultChoice]:
    """The choices with the variants that `environment` can do. Raises Unavailable as `missing` says."""
    offer = cluster if isinstance(cluster, Offer) else Offer.of(cluster)
    for choice in choices:
        if (refusal := missing(offer, choice, environment)) is not None:
            raise refusal
    return [
        _narrowed(choice, [v for v in choice.variants if not lacks(offer, families()[choice.name], v)])
        for choice in choices
    ]


def is_claimed(survives: Collection[str], choice: FaultChoice, variant: str) -> bool:
    """Whether a fault model with these names (`kill`, `disk/lose-unsynced`; `:` reads as `/`) includes this variant."""
    names = {name.replace(":", "/") for name in survives}
    return any(name in names for name in families()[choice.name].claims(variant))


def within_model(choices: Sequence[FaultChoice], survives: Collection[str]) -> list[FaultChoice]:
    """The choices with the variants that the fault model includes.

    Raises Unavailable for a choice of which no variant is left, and for a variant that the user named and the model does not
    include.
    """
    kept: list[FaultChoice] = []
    for choice in choices:
        inside = [variant for variant in choice.variants or ("",) if is_claimed(survives, choice, variant)]
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
    """The choices that could have planned these entries. They say what a schedule from a file needs and how it is healed."""
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


def chosen_families(choices: Iterable[FaultChoice]) -> list[Family]:
    """The families of these choices, in the order of the final heals."""
    chosen = {choice.name for choice in choices}
    return [family for name, family in families().items() if name in chosen]


def final_ops(choices: Iterable[FaultChoice]) -> list[tuple[str, Any]]:
    """The (f, value) that a run's heal phase does, once each: they undo whatever these choices did."""
    ops: list[tuple[str, Any]] = []
    for family in chosen_families(choices):
        ops.extend(op for op in family.final_ops() if op not in ops)
    return ops
