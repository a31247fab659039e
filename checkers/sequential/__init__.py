"""Sequential consistency of any model."""

from checkers.sequential.check import sequential

__all__ = ["sequential"]
