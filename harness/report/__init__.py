"""What a run came to, for people: the summary, the inspection of a failure, diagrams."""
