"""How old reads are, in time and in versions."""

from checkers.staleness.check import staleness

__all__ = ["staleness"]
