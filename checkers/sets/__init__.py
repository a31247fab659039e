"""Sets that are read often: what becomes of each element (Jepsen's set-full)."""

from checkers.sets.set_full import set_full

__all__ = ["set_full"]
