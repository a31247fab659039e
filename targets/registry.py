"""Targets by name: the built-in ones, those of entry point group `themis.targets`, and `package.module:Name`."""

from __future__ import annotations

import importlib
from importlib import metadata

from targets import declared
from targets.target import CoreTarget, Privileged, Program, Target

BUILT_IN = {
    "raft": "targets.raft.target:TARGET",
    "paxos": "targets.paxos.multi.target:TARGET",
    "paxos-single": "targets.paxos.single.target:TARGET",
    "gossip": "targets.gossip.target:TARGET",
    "etcd": "targets.etcd.target:TARGET",
    "redis": "targets.redis.target:TARGET",
    "zookeeper": "targets.zookeeper.target:TARGET",
    "postgres": "targets.postgres.target:TARGET",
    "2pc": "targets.twopc.target:TARGET",
}


def names() -> list[str]:
    """Every name that `find` knows without a module path, sorted."""
    return sorted(BUILT_IN | {point.name: point.value for point in metadata.entry_points(group="themis.targets")})


def find(name: str) -> Target:
    """The target called `name`, or at `package.module:Name`.

    Raises LookupError when there is no such target; ImportError when its module cannot be loaded or lacks that name; ValueError,
    naming the member that is missing or does not fit, when that object is no target.
    """
    known = {point.name: point.value for point in metadata.entry_points(group="themis.targets")} | BUILT_IN
    path = known.get(name, name)
    if ":" not in path:
        raise LookupError(name)
    module, _, attribute = path.partition(":")
    try:
        target: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ImportError(str(error)) from error
    except Exception as error:  # What a module raises while it is loaded can be anything.
        raise ImportError(f"{module or 'no module'}: {type(error).__name__}: {error}") from error
    likely = CoreTarget if hasattr(target, "core") else Program
    kind = next((each for each in (CoreTarget, Program) if not declared.lacking(target, each)), likely)
    declared.require(target, kind)
    if isinstance(target, Privileged):
        declared.require(target, Privileged)
    assert isinstance(target, (CoreTarget, Program)), "it has every member of one of them"
    return target
