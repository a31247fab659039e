"""Protocol invariants, from what nodes trace. One file a rule; a target names the rules that hold for it (registry.py)."""

from checkers.invariants.observers import Observers, check_stream, check_traces
from checkers.invariants.registry import find, names
from checkers.invariants.violation import Violation

__all__ = ["Observers", "Violation", "check_stream", "check_traces", "find", "names"]
