"""All keys of one node, in ranges with a digest each, so that two nodes find where they differ (Demers et al. 1987, §1.3).

A range is what a hash of the key says; its digest is the exclusive or of a hash of each key with its state. So a digest is kept
up to date key by key, and equal digests mean equal ranges, but for one chance in 2^62.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import msgspec

from targets.gossip.crdts import AnyState
from targets.gossip.messages import KeyState
from targets.machines.machine import Key

RANGES = 16


def range_of(key: Key) -> int:
    """The same on every node."""
    return zlib.crc32(msgspec.json.encode(key)) % RANGES


class KeyStates:
    """digests: of each range."""

    def __init__(self) -> None:
        self.digests = [0] * RANGES
        self._ranges: list[dict[Key, AnyState]] = [{} for _ in range(RANGES)]

    def get(self, key: Key) -> AnyState | None:
        """The state of the key; None where there is none."""
        return self._ranges[range_of(key)].get(key)

    def put(self, key: Key, state: AnyState | None) -> None:
        """It takes the place of what was there."""
        number = range_of(key)
        held = self._ranges[number]
        before = held.get(key)
        if before is not None:
            self.digests[number] ^= _hash(key, before)
        if state is None:
            held.pop(key, None)
        else:
            held[key] = state
            self.digests[number] ^= _hash(key, state)

    def in_ranges(self, numbers: tuple[int, ...]) -> tuple[KeyState, ...]:
        """Everything in these ranges, in the order in which the keys came."""
        return tuple(KeyState(key, state) for number in numbers for key, state in self._ranges[number].items())

    def items(self) -> Iterator[tuple[Key, AnyState]]:
        """Every key and its state."""
        for held in self._ranges:
            yield from held.items()


def _hash(key: Key, state: AnyState) -> int:
    text = msgspec.json.encode((key, state))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 2
