"""Requests that a node cannot answer yet: writes wait for their index to be applied, reads for proof of leadership."""

from __future__ import annotations

from collections import deque

from targets.machines.machine import Command


class Writes:
    """Commands that this node appended as leader of `term` and has not seen applied.

    They outlive its leadership, because the commands do: the entry that is committed at their index tells how they ended.
    """

    __slots__ = ("_request_ids", "_term")

    def __init__(self) -> None:
        self._term = 0
        self._request_ids: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._request_ids)

    def add(self, index: int, term: int, request_id: int) -> None:
        """`request_id` waits for the entry at `index`. All that wait at one time are of one term."""
        assert term == self._term or not self._request_ids, "the writes of an earlier leadership are settled first"
        self._term = term
        self._request_ids[index] = request_id

    def applied(self, index: int, term: int) -> tuple[int | None, list[int]]:
        """What the entry of `term`, applied at `index`, settles: (the request that it answers, the requests that it rules out).

        Terms never fall along a log: behind a committed entry of a later term, none of ours can ever be committed.
        """
        if term == self._term:
            return self._request_ids.pop(index, None), []
        return None, self.drain() if term > self._term else []

    def drain(self) -> list[int]:
        """All request ids that wait, in order of index; none waits after it."""
        request_ids = list(self._request_ids.values())
        self._request_ids.clear()
        return request_ids


class Reads:
    """Reads that wait, in order of arrival: until the leader is known to have led after they came (thesis §6.4)."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int, int, Command]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, after_sequence: int, read_index: int, request_id: int, command: Command) -> None:
        """Wait until a majority answers what is numbered above `after_sequence`, and `read_index` is applied. It waits for those
        before it too."""
        after_sequence = max(after_sequence, self.newest_after)
        self._waiting.append((after_sequence, read_index, request_id, command))

    @property
    def newest_after(self) -> int:
        """The `after_sequence` of the newest read; -1 when none waits."""
        return self._waiting[-1][0] if self._waiting else -1

    def take_ready(self, confirmed_sequence: int, applied_index: int) -> list[tuple[int, Command]]:
        """(request id, command) of the reads that may be answered now; they wait no more.

        Both bounds rise with arrival, so the ready ones stand in front.
        """
        waiting, ready = self._waiting, []
        while waiting and waiting[0][0] < confirmed_sequence and waiting[0][1] <= applied_index:
            _, _, request_id, command = waiting.popleft()
            ready.append((request_id, command))
        return ready

    def drain(self) -> list[int]:
        """All request ids that wait; none waits after it."""
        request_ids = [request_id for _, _, request_id, _ in self._waiting]
        self._waiting.clear()
        return request_ids
