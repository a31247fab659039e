"""Protocol invariants of replicated logs, from the trace effects of their cores (Raft figure 3, "properties"). One file a rule."""

from checkers.invariants.observers import Observers, check_traces
from checkers.invariants.violation import Violation

__all__ = ["Observers", "Violation", "check_traces"]
