"""Randomness as a value: a stream of draws that is a function of one 64-bit word, and nothing else.

A generator must give the same answer when it is asked twice, so it cannot hold a `random.Random`. It holds a *salt*
instead, one word drawn from the run's rng when it is built; the interpreter puts a fresh *word* into the context of
every op it takes. Both together seed a `Stream`. Two combinators of one tree never draw alike (other salt), one
combinator never draws twice alike (other word), and its copies, restarts and discarded answers need no care.

Source: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, §4); it passes BigCrush and is two multiplications long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


def mixed(word: int) -> int:
    """A 64-bit word that looks independent of `word`; a bijection."""
    word = (word + _GAMMA) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def salt_of(rng: Random) -> int:
    """One word of `rng`, for a combinator that is being built."""
    return rng.getrandbits(64)


class Stream:
    """Draws for one op. Made, used and thrown away inside one call: never keep one in a generator."""

    __slots__ = ("_word",)

    def __init__(self, word: int) -> None:
        self._word = word

    def word(self) -> int:
        """64 random bits."""
        word = self._word
        self._word = (word + _GAMMA) & _MASK
        return mixed(word)

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return (self.word() >> 11) * 2.0**-53

    def below(self, limit: int) -> int:
        """Uniform in 0..limit-1; limit must be positive."""
        # The bias of a modulo is below limit / 2^64: far less than any test of ours could ever see.
        return self.word() % limit

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, uniformly."""
        return items[self.word() % len(items)]

    def exponential(self, mean: float) -> float:
        """Exponentially distributed, so that successive waits make a Poisson process."""
        return -math.log(1.0 - self.random()) * mean
