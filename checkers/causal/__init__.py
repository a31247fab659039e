"""Causal consistency of reads and writes, alone and in transactions, for histories in which each value is written once."""

from checkers.causal.check import causal

__all__ = ["causal"]
