"""Every mutant."""

from __future__ import annotations

from harness.tests.mutation import checkers, nemesis
from harness.tests.mutation.mutant import Mutant

ALL: tuple[Mutant, ...] = (*checkers.MUTANTS, *nemesis.MUTANTS)
