"""Targets by name: the built-in ones, those of entry point group `themis.targets`, and `package.module:Name`."""

from __future__ import annotations

import importlib
from importlib import metadata

from targets.target import CoreTarget, Program, Target

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
    naming what it lacks, when that object is no target.
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
    if isinstance(target, (CoreTarget, Program)):
        return target
    kind = CoreTarget if hasattr(target, "core") else Program
    lacking = sorted(member for member in _members(kind) if not hasattr(target, member))
    raise ValueError(f"it is no {kind.__name__} (targets.target), for it lacks {', '.join(lacking)}")


def _members(protocol: type) -> set[str]:
    """The names that a class must have to follow the protocol."""
    found: set[str] = set()
    for base in protocol.__mro__:
        if base.__module__ == protocol.__module__:
            found |= {*vars(base).get("__annotations__", {})}
            found |= {name for name in vars(base) if not name.startswith("_")}
    return found
