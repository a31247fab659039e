"""What weaker promises come to: nothing is lost, nothing comes from nowhere, nothing comes twice. Each in one pass and sorts."""

from checkers.relaxed.final_set import final_set
from checkers.relaxed.queues import total_queue, unordered_queue
from checkers.relaxed.unique_ids import unique_ids

__all__ = ["final_set", "total_queue", "unique_ids", "unordered_queue"]
