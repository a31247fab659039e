"""One shard's values, each with the versions before it that a snapshot may still ask for."""

from __future__ import annotations

from typing import Any

from targets.machines.machine import Key

VERSIONS_MAX = 16
"""Of one key. A transaction whose snapshot is older than all of them aborts."""

Versions = tuple[tuple[int, Any], ...]


class TooOld(Exception):
    """No version is left that the snapshot could see."""


class Store:
    """versions_max: how many versions of a key are kept; 1 where nobody reads snapshots."""

    __slots__ = ("_versions", "_versions_max")

    def __init__(self, versions_max: int) -> None:
        self._versions: dict[Key, Versions] = {}
        self._versions_max = versions_max

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every key that was ever written."""
        return tuple(self._versions)

    def newest(self, key: Key) -> Any:
        """What the key holds; None when it was never written."""
        versions = self._versions.get(key)
        return None if versions is None else versions[-1][1]

    def written_at(self, key: Key) -> int:
        """The timestamp of the newest version; 0 when there is none."""
        versions = self._versions.get(key)
        return 0 if versions is None else versions[-1][0]

    def at(self, key: Key, timestamp: int) -> Any:
        """What the key held at this time. Raises TooOld."""
        versions = self._versions.get(key, ())
        for written_at, value in reversed(versions):
            if written_at <= timestamp:
                return value
        if len(versions) == self._versions_max:  # There may have been an older one.
            raise TooOld
        return None

    def put(self, key: Key, value: Any, timestamp: int) -> None:
        """The key holds this from `timestamp` on. A list is kept as a tuple: nobody who read it sees it grow."""
        kept = tuple(value) if value.__class__ is list else value
        self._versions[key] = (*self._versions.get(key, ()), (timestamp, kept))[-self._versions_max :]

    def snapshot(self) -> tuple[tuple[Key, Versions], ...]:
        """All of it."""
        return tuple(self._versions.items())

    def restore(self, snapshot: tuple[tuple[Key, Versions], ...]) -> None:
        """Exactly these keys hold these values."""
        self._versions = {
            key: tuple((at, tuple(value) if value.__class__ is list else value) for at, value in versions)
            for key, versions in snapshot
        }
