"""What one node's log holds, as its trace shows it.

A crash may come between a trace and its record. The disk may then hold less than was traced, or more, where a traced truncation
did not reach it. So the view keeps what was cut off until the node tells by `Recovered` what its log holds. An entry whose
command no trace told is None here, and no rule uses it.
"""

from __future__ import annotations

from checkers.invariants.committed_log import CommittedLog, Entry


class NodeView:
    """One node as its trace shows it.

    start: up to this index its log holds what is committed, where its trace told it, and the view need not. start_term: the term of
    the entry there; None: not known. log[k]: the entry at index start + k + 1, or None.
    starts: (index, term) where its entries' terms change. cut: what was taken off its log since it last told what the disk holds,
    by (index, term); of what it held up to `start` nothing is in it. base: up to here, a snapshot that it recovered or installed
    stands for its log. is_settled: its log here is as on its disk.
    settled_at: how many entries had been committed, anywhere, when it last was; -1: it never was.
    is_recovering: it started and has not told its log yet.
    """

    __slots__ = (
        "_committed",
        "base",
        "commit_index",
        "cut",
        "is_recovering",
        "is_settled",
        "log",
        "name",
        "role",
        "settled_at",
        "start",
        "start_term",
        "starts",
        "term",
    )

    def __init__(self, name: str, committed: CommittedLog) -> None:
        self.name = name
        self.role = "follower"
        self.term = 0
        self.start = 0
        self.start_term: int | None = 0
        self.log: list[Entry | None] = []
        self.starts: list[tuple[int, int]] = []
        self.base = 0
        self.cut: dict[tuple[int, int], Entry] = {}
        self.commit_index = 0
        self.is_settled = True
        self.settled_at = -1
        self.is_recovering = False
        self._committed = committed

    @property
    def length(self) -> int:
        """The index of the last entry; 0: the log is empty."""
        return self.start + len(self.log)

    def entry_at(self, index: int) -> Entry | None:
        """The entry at `index`; None when there is none or it is not known."""
        start = self.start
        if 0 < index <= start:
            return self._committed[index - 1]
        return self.log[index - 1 - start] if start < index <= start + len(self.log) else None

    def entries(self, begin: int, end: int) -> list[Entry | None]:
        """The entries at positions begin..end-1, which is one less than their index; fewer where the log ends before."""
        start = self.start
        if begin >= start:
            return self.log[begin - start : end - start]
        old = [self._committed[position] for position in range(begin, min(start, end))]
        return old + self.log[: max(0, end - start)]

    def lacks(self, index: int, entry: Entry) -> bool:
        """Whether its log certainly does not hold `entry` at `index`."""
        own = self.entry_at(index)
        return own != entry if own is not None else index > self.length

    def cut_from(self, index: int) -> None:
        """The log ends before `index`; what is cut off may still be on the disk."""
        log, start = self.log, self.start
        for at in range(max(0, index - 1 - start), len(log)):
            entry = log[at]
            if entry is not None:
                self.cut[start + at + 1, entry[0]] = entry
        if index <= start:
            log.clear()
            self.start = index - 1
            self.start_term = 0 if index == 1 else None
        else:
            del log[index - 1 - start :]
        starts = self.starts
        while starts and starts[-1][0] >= index:
            starts.pop()
        self.base = min(self.base, index - 1)

    def fold(self, index: int) -> None:
        """Hold no entry up to `index` that is as committed, from the first on; what is not known counts as committed, since no rule
        uses it."""
        log, start, committed = self.log, self.start, self._committed
        count = min(index - start, len(log))
        if count <= 0:
            return
        if start < committed.start or log[:count] != committed.entries[start - committed.start :][:count]:
            for at in range(count):
                own, theirs = log[at], committed[start + at]
                if own is not None and theirs is not None and own != theirs:
                    count = at
                    break
        if count:
            last = log[count - 1]
            self.start_term = None if last is None else last[0]
            del log[:count]
            self.start += count

    def unfold(self, index: int) -> None:
        """Hold all entries from `index` on, as far as they are known."""
        if index <= self.start:
            self.log[:0] = [self._committed[position] for position in range(index - 1, self.start)]
            self.start = index - 1
            self.start_term = 0 if index == 1 else None

    def begin_with(self, index: int, term: int) -> None:
        """A snapshot stands for the log up to `index`, an entry of `term`, as committed. What the log holds behind it stays."""
        if index <= self.base:
            return
        log, committed = self.log, self._committed
        low = max(self.base, self.start)
        if low < min(index, committed.start):
            low = min(index, committed.start)
            del log[: low - self.start]
            last = committed[low - 1]
            self.start, self.start_term = low, None if last is None else last[0]
        if low < index:
            start = self.start
            known = committed.entries[low - committed.start : index - committed.start]
            known.extend([None] * (index - low - len(known)))
            if log[low - start : index - start] != known:
                log[low - start : index - start] = known
        self.base = index
        self.starts = [(index, term), *(start for start in self.starts if start[0] > index)]

    def recover(self, last_index: int, terms: tuple[tuple[int, int], ...]) -> None:
        """The log has this length and these terms; commands are those that the node told before."""
        starts = self.starts
        same = min(len(starts), len(terms))
        if tuple(starts[:same]) != terms[:same]:
            same = next(number for number in range(same) if starts[number] != terms[number])
        ends = [start[0] - 1 for rest in (starts, terms) for start in rest[same : same + 1]]
        kept = min(self.length, last_index, *ends)
        self.cut_from(kept + 1)
        number = same - 1
        for index in range(kept + 1, last_index + 1):
            while number + 1 < len(terms) and terms[number + 1][0] <= index:
                number += 1
            self.log.append(self.cut.get((index, terms[number][1])) if number >= 0 else None)
        self.starts = list(terms)
        self.cut = {}

    def forget_log(self) -> None:
        """The node goes on after a restart without having told what its disk holds: its log is unknown."""
        self.is_recovering = False
        self.log = [None] * len(self.log)
        self.start_term = 0 if self.start == 0 else None
        self.starts = []
        self.cut = {}
