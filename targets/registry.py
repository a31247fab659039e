"""Targets by name: the built-in ones, those of entry point group `themis.targets`, and `package.module:Name`."""

from __future__ import annotations

import importlib
from importlib import metadata

from targets.target import CoreTarget

BUILT_IN = {"raft": "targets.raft.target:TARGET"}


def names() -> list[str]:
    """Every name that `find` knows without a module path, sorted."""
    return sorted(BUILT_IN | {point.name: point.value for point in metadata.entry_points(group="themis.targets")})


def find(name: str) -> CoreTarget:
    """The target called `name`, or at `package.module:Name`.

    Raises LookupError when there is no such target; ImportError or AttributeError when its module cannot be loaded.
    """
    known = {point.name: point.value for point in metadata.entry_points(group="themis.targets")} | BUILT_IN
    path = known.get(name, name)
    if ":" not in path:
        raise LookupError(name)
    module, _, attribute = path.partition(":")
    target: CoreTarget = getattr(importlib.import_module(module), attribute)
    return target
