"""What an eventually consistent store promises: its nodes agree in the end, and nothing that was acknowledged is lost."""

from checkers.eventual.convergence import convergence
from checkers.eventual.durability import counters_kept, registers_kept

__all__ = ["convergence", "counters_kept", "registers_kept"]
