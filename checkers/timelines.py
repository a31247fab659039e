"""Restores from a backup, as a history tells of them: they end one course of events, and begin another from an earlier moment.

When a whole cluster is restored, what was acknowledged after the backup is gone: that is what a backup is. No model of consistency
allows it for one history. So each course is checked by itself: a *timeline* is what had happened until the backup was taken, and
what happened after the restore. An acknowledged update from before the backup that is missing after it breaks the claim in the new
timeline, and so does one from after the backup that comes back: there it was never invoked.

What overlaps the backup or the restore may have happened on either side, or not: such an update is one of unknown outcome there,
and such a read says nothing. So is every update of unknown outcome from before a restore: its request may still be under way.

When one node is restored and the others go on, there is one course. What the node alone had acknowledged since the backup may be
gone, so these updates are of unknown outcome.

A completed `restore` op says in `did` whether it was `written`, and of which backup (nemesis/faults/restore.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from checkers.verdict import Validity, Verdict
from histories.faults import fault_result
from histories.history import History
from histories.op import NEMESIS, Op

TAKE, RESTORE = "take-backup", "restore"
CHECKER = "restore"
GIVEN_UP_MAX = 100
"""So many updates that a restore gave up are told one by one."""
READS = frozenset({"read", "contains"})
AT_THE_END = frozenset({"convergence", "durability", "set-full", "set-convergence", "counter-durability", "final-set"})
"""Checkers that judge what is there when a run has ended: only the last timeline has an end."""
AT_ONCE = frozenset({"unique-ids"})
"""Checkers of promises that a restore must not break either: they judge the history as it is."""

Context = TypeVar("Context")


class Restore(msgspec.Struct, frozen=True):
    """A restore that reached the disks. nodes: those that were restored. is_whole: they are all. backup: its number; from when to
    when it was taken. begin_ns, end_ns: of the restore. given_up: the updates that were acknowledged after the backup, and that
    this restore took back, or in doubt where not is_whole; the first GIVEN_UP_MAX of given_up_count. in_doubt_count: updates that
    ended while the backup was taken, or the restore done."""

    index: int
    nodes: tuple[str, ...]
    is_whole: bool
    backup: int
    backup_begin_ns: int
    backup_end_ns: int
    begin_ns: int
    end_ns: int
    given_up_count: int = 0
    in_doubt_count: int = 0
    given_up: tuple[dict[str, Any], ...] = ()

    @property
    def words(self) -> str:
        """What it took back, for a person."""
        who = "the cluster was" if self.is_whole else f"{', '.join(self.nodes)} was"
        ops = "1 update" if self.given_up_count == 1 else f"{self.given_up_count} updates"
        by, end = ("", "gone") if self.is_whole else (" by it", "in doubt")
        verb = "is" if self.given_up_count == 1 else "are"
        taken = f"acknowledged{by} after the backup at {self.backup_end_ns / 1e9:.3f} s"
        return f"{who} restored at {self.begin_ns / 1e9:.3f} s: {ops} {taken} {verb} {end}"


class Entry(msgspec.Struct, frozen=True):
    """A client's op by the positions of its events; end: None where nothing counts that it ended with."""

    begin: int
    end: int | None


Course = list[Entry]


class Untold(ValueError):
    """A restore does not say what it did; the message says which."""


def timelines(history: History) -> tuple[list[Restore], list[History]]:
    """The restores that reached the disks, and the histories to be checked: the courses that restores of the whole cluster ended,
    and the last one. Raises Untold for a restore of which nobody knows whether it reached the disks."""
    reader = _Reader(history)
    for position, op in enumerate(history):
        reader.take(position, op)
    reader.require_told()
    reader.ended.append(([*reader.now, *reader.still_open()], len(history)))
    return reader.restores, [_history(history, course, until) for course, until in reader.ended]


def is_restored(history: History) -> bool:
    """Whether any restore of a backup was tried, so that the history may not be one course. A fault that another tool calls
    `restore` follows no backup, and is none."""
    was_taken = False
    for op in history.nemesis():
        was_taken = was_taken or op.f == TAKE
        if was_taken and op.f == RESTORE:
            return True
    return False


def checked(name: str, check: Callable[[History, Context], Verdict], history: History, context: Context) -> Verdict:
    """What the checker of this name finds in the timelines of the history: the worst of them."""
    if name in AT_ONCE or not is_restored(history):
        return check(history, context)
    try:
        found, courses = timelines(history)
    except Untold as error:
        return Verdict.unknown(str(error), name)
    whole = [restore for restore in found if restore.is_whole]
    worst: Verdict | None = None
    for number, course in enumerate(courses):
        if number < len(courses) - 1 and name in AT_THE_END:
            continue
        verdict = check(course, context)
        if worst is None or verdict.validity.badness >= worst.validity.badness:
            worst = verdict
            if verdict.validity is not Validity.VALID and number:
                since = whole[number - 1]
                where = f"after the restore at {since.begin_ns / 1e9:.3f} s of the backup at {since.backup_end_ns / 1e9:.3f} s"
                worst = msgspec.structs.replace(verdict, reason=f"{where}: {verdict.reason}")
    assert worst is not None, "there is a last course"
    return worst


def told(history: History) -> Verdict:
    """VALID, with what each restore took back; UNKNOWN where that is not known."""
    try:
        found, _ = timelines(history)
    except Untold as error:
        return Verdict.unknown(str(error), CHECKER)
    stats = {"restores": [msgspec.to_builtins(restore) | {"words": restore.words} for restore in found]}
    return Verdict.valid(CHECKER, stats=stats)


# --- reading ----------------------------------------------------------------------------------------------------------


class _Backup(msgspec.Struct, frozen=True):
    """From when to when it was taken, and the course then: what had ended, and what was open (positions of invocations)."""

    begin_ns: int
    end_ns: int
    ended: tuple[Entry, ...]
    open: tuple[int, ...]


class _Reader:
    """Takes the events of a history in order. now: what has ended in the present course. ended: the courses that ended, each with
    the position before which its fault ops stand."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now: Course = []
        self.restores: list[Restore] = []
        self.ended: list[tuple[Course, int]] = []
        self._open: dict[Any, int] = {}
        self._doubtful: set[int] = set()
        """Invocations that were open when a restore was done."""
        self._backups: dict[int, _Backup] = {}
        self._begun: dict[str, int] = {}
        self._is_restoring = False

    def take(self, position: int, op: Op) -> None:
        """The event at this position. Raises Untold."""
        if op.process != NEMESIS:
            if op.type == "invoke":
                self._open[op.process] = position
            elif op.process in self._open:
                self._end(Entry(self._open.pop(op.process), position))
        elif op.f in (TAKE, RESTORE):
            if op.f == RESTORE:
                self._is_restoring = op.type == "invoke"
            if op.type == "invoke":
                self._begun[op.f] = position
            elif op.f == TAKE:
                self._on_taken(op)
            else:
                self._on_restored(op)

    def require_told(self) -> None:
        """Raises Untold for a restore that had begun when the history ended: it may have reached the disks by then."""
        if self._is_restoring and self._backups:
            index = self.history[self._begun[RESTORE]].index
            raise Untold(
                f"the history ends amid the restore of op {index}, and nobody knows whether it reached the disks"
            )

    def still_open(self) -> Course:
        """What has not ended."""
        return [
            Entry(begin, None) for begin in self._open.values() if self._is_update(begin) or begin not in self._doubtful
        ]

    def _end(self, entry: Entry) -> None:
        if entry.begin not in self._doubtful:
            self.now.append(entry)
        elif (doubt := self._doubt(entry)) is not None:
            self.now.append(doubt)

    def _is_update(self, begin: int) -> bool:
        return self.history[begin].f not in READS

    def _time_ns(self, entry: Entry) -> int:
        """When it ended."""
        assert entry.end is not None, "asked only of what has ended"
        return self.history[entry.end].time

    def _is_ok(self, entry: Entry) -> bool:
        return entry.end is not None and self.history[entry.end].type == "ok"

    def _doubt(self, entry: Entry) -> Entry | None:
        """The op as one of unknown outcome; None where it certainly did nothing, or changed nothing."""
        end = self.history.completions.get(entry.begin)
        if not self._is_update(entry.begin) or (end is not None and self.history[end].type == "fail"):
            return None
        return Entry(entry.begin, None)

    def _on_taken(self, op: Op) -> None:
        result = fault_result(op)
        if result is None or result.status != "installed":
            return
        begin_ns = self.history[self._begun[TAKE]].time
        self._backups[int(result.did["backup"])] = _Backup(
            begin_ns, op.time, tuple(self.now), tuple(self._open.values())
        )

    def _on_restored(self, op: Op) -> None:
        result = fault_result(op)
        if result is not None and result.status == "skipped":
            return
        did = result.did if result is not None and isinstance(result.did, dict) else {}
        number = did.get("backup")
        if "written" not in did or number not in self._backups:
            raise Untold(
                f"nobody knows whether the restore of op {op.index} reached the disks, and so what it took back"
            )
        backup, begun = self._backups[number], self._begun[RESTORE]
        is_whole = did["shape"] == "cluster"
        restore = Restore(
            op.index,
            tuple(did["nodes"]),
            is_whole,
            number,
            backup.begin_ns,
            backup.end_ns,
            self.history[begun].time,
            op.time,
        )
        if is_whole:
            self.ended.append((self._cut_off(restore), begun))
            restore = self._begin_anew(restore, backup)
        else:
            restore = self._rejoin(restore)
        self._doubtful |= set(self._open.values())
        self.restores.append(restore)

    def _cut_off(self, restore: Restore) -> Course:
        """The course that this restore ended: what was open when it began is of unknown outcome."""
        before = [entry for entry in self.now if entry.end is None or self._time_ns(entry) < restore.begin_ns]
        late = [entry for entry in self.now if entry.end is not None and self._time_ns(entry) >= restore.begin_ns]
        doubts = [self._doubt(entry) for entry in (*late, *(Entry(begin, None) for begin in self._open.values()))]
        return [*before, *(doubt for doubt in doubts if doubt is not None)]

    def _begin_anew(self, restore: Restore, backup: _Backup) -> Restore:
        """A new course: the one in which the backup was taken, until then, and of the one that has ended only what nobody knows the
        end of."""
        course: Course = []
        doubts: Course = []
        for entry in backup.ended:
            is_before = entry.end is None or self._time_ns(entry) < backup.begin_ns
            (course if is_before else doubts).append(entry)
        doubts += [Entry(begin, None) for begin in backup.open]
        known = {entry.begin for entry in (*course, *doubts)}
        given_up: Course = []
        for entry in self.now:
            if entry.begin in known:
                continue
            if not self._is_ok(entry) or self._time_ns(entry) >= restore.begin_ns:
                doubts.append(entry)
            elif self._is_update(entry.begin):
                given_up.append(entry)
        return self._replaced(restore, course, doubts, given_up)

    def _rejoin(self, restore: Restore) -> Restore:
        """The same course, in which what the restored node alone may have had is of unknown outcome."""
        course: Course = []
        doubts: Course = []
        given_up: Course = []
        for entry in self.now:
            done = None if entry.end is None else self.history[entry.end]
            is_at_risk = (
                done is not None
                and done.type == "ok"
                and done.time >= restore.backup_begin_ns
                and (done.node is None or done.node in restore.nodes)
                and self._is_update(entry.begin)
            )
            if not is_at_risk:
                course.append(entry)
                continue
            doubts.append(entry)
            if self.history[entry.begin].time > restore.backup_end_ns:
                given_up.append(entry)
        return self._replaced(restore, course, doubts, given_up)

    def _replaced(self, restore: Restore, course: Course, doubts: Course, given_up: Course) -> Restore:
        kept = [doubt for entry in doubts if (doubt := self._doubt(entry)) is not None]
        self.now = [*course, *kept]
        told_ops = [self.history[entry.begin] for entry in given_up[:GIVEN_UP_MAX]]
        return msgspec.structs.replace(
            restore,
            given_up_count=len(given_up),
            in_doubt_count=sum(1 for entry in doubts if self._is_ok(entry) and self._is_update(entry.begin))
            - (0 if restore.is_whole else len(given_up)),
            given_up=tuple(
                {"index": op.index, "f": op.f, "key": op.key, "value": op.value, "node": op.node} for op in told_ops
            ),
        )


def _history(history: History, course: Sequence[Entry], until: int) -> History:
    """The events of the course, with the fault ops before the position `until`. An op of unknown outcome has a process of its own,
    which does nothing else."""
    events: list[tuple[int, Op]] = []
    fresh = 1 + max((op.process for op in history if isinstance(op.process, int)), default=-1)
    for entry in course:
        invoked = history[entry.begin]
        if entry.end is None:
            events.append((entry.begin, msgspec.structs.replace(invoked, process=fresh)))
            fresh += 1
        else:
            events += [(entry.begin, invoked), (entry.end, history[entry.end])]
    events += [(at, op) for at, op in enumerate(history) if op.process == NEMESIS and at < until]
    events.sort(key=lambda event: event[0])
    return History(op for _, op in events)
