"""Every mutant."""

from __future__ import annotations

from harness.tests.mutation import checkers, faults, nemesis, recording, registers, runs, simulation
from harness.tests.mutation.mutant import Mutant

ALL: tuple[Mutant, ...] = (
    *checkers.MUTANTS,
    *nemesis.MUTANTS,
    *registers.MUTANTS,
    *faults.MUTANTS,
    *simulation.MUTANTS,
    *recording.MUTANTS,
    *runs.MUTANTS,
)
