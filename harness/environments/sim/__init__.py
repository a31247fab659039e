"""Deterministic simulation: cores, faults and clients in one process and in virtual time (DESIGN.md, section 5)."""
