"""Shows people how a run ended: the summary, the inspection of a failure, diagrams."""
