"""Realistic mistakes in the cores of consensus, one at a time, and how the simulation hunts them (docs/mutants.md)."""
