"""A ledger that forgets old entries finds what one that keeps them finds, in the same step."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest

from checkers.invariants import Observers, Violation
from checkers.invariants.committed_log import CommittedLog, Forgotten
from checkers.invariants.ledger import in_words, plain
from checkers.invariants.node_view import NodeView
from histories.tracing import (
    Appended,
    Applied,
    Committed,
    Installed,
    Recovered,
    Role,
    Snapshotted,
    Started,
    TraceEvent,
    TraceRecord,
    Truncated,
)

RULES = ("log-matching", "leader-completeness", "state-machine-safety", "durability")
"""Those that ask the ledger for entries."""
NODES = ("n1", "n2", "n3", "n4", "n5")


class Story:
    """Traces of a cluster that replicates one log, in which now and then something happens that may not.

    log: what is decided, as (term, command). A node's own log is a prefix of it, and at times something else behind that.
    """

    def __init__(self, rng: Random, wrong_share: float) -> None:
        self.rng = rng
        self.wrong_share = wrong_share
        self.records: list[TraceRecord] = []
        self.log: list[tuple[int, str]] = []
        self.logs: dict[str, list[tuple[int, str]]] = {node: [] for node in NODES}
        self.committed = dict.fromkeys(NODES, 0)
        self.applied = dict.fromkeys(NODES, 0)
        self.term = 1
        self.led: set[tuple[str, int]] = set()

    def say(self, node: str, event: TraceEvent) -> None:
        self.records.append(TraceRecord(len(self.records), node, event))

    def step(self) -> None:
        """One thing happens at one node."""
        rng = self.rng
        node = rng.choice(NODES[: rng.choice((2, 5, 5))])
        if rng.random() < self.wrong_share:
            rng.choice((self.append_wrong, self.truncate, self.apply_wrong, self.lead, self.lose))(node)
            return
        what = rng.choice((self.append, self.append, self.append, self.commit, self.commit, self.apply, self.restart))
        (self.snapshot if rng.random() < 0.05 else self.install if rng.random() < 0.03 else what)(node)

    def append(self, node: str) -> None:
        log = self.logs[node]
        while log != self.log[: len(log)]:
            log.pop()
        if len(self.log) < len(log) + 4:
            self.term += self.rng.random() < 0.1
            self.log += [(self.term, f"c{len(self.log) + number}") for number in range(self.rng.randint(1, 4))]
        term = self.log[len(log)][0]
        commands = []
        for entry in self.log[len(log) : len(log) + self.rng.randint(1, 6)]:
            if entry[0] == term:
                commands.append(entry[1])
        self.say(node, Appended(len(log) + 1, term, tuple(commands)))
        log += [(term, command) for command in commands]

    def commit(self, node: str) -> None:
        held = sorted(len(log) if log == self.log[: len(log)] else 0 for log in self.logs.values())
        log = self.logs[node]
        last = min(len(log), held[len(NODES) // 2])
        if log == self.log[: len(log)] and last > self.committed[node]:
            self.committed[node] = self.rng.randint(self.committed[node] + 1, last)
            self.say(node, Committed(self.committed[node]))

    def apply(self, node: str) -> None:
        first, last = self.applied[node] + 1, self.committed[node]
        if first <= last:
            self.say(node, Applied(first, last, *self.logs[node][last - 1]))
            self.applied[node] = last

    def restart(self, node: str) -> None:
        log = self.logs[node]
        self.say(node, Started(1, 0))
        self.tell(node, log, 0)

    def tell(self, node: str, log: list[tuple[int, str]], snapshot_index: int) -> None:
        tail = log[max(snapshot_index, len(log) - 5) :]
        terms = [
            (index, log[index - 1][0])
            for index in range(snapshot_index + 1, len(log) + 1)
            if index == snapshot_index + 1 or log[index - 1][0] != log[index - 2][0]
        ]
        snapshot_term = log[snapshot_index - 1][0] if snapshot_index else 0
        commands = tuple(command for _, command in tail)
        self.say(node, Recovered(len(log), tuple(terms), commands, snapshot_index, snapshot_term))
        self.committed[node] = self.applied[node] = snapshot_index

    def snapshot(self, node: str) -> None:
        index = self.applied[node]
        if index:
            self.say(node, Snapshotted(index, self.logs[node][index - 1][0], index))
            self.say(node, Started(1, 0))
            self.tell(node, self.logs[node], index)

    def install(self, node: str) -> None:
        index = max(self.committed.values())
        if index > len(self.logs[node]):
            self.say(node, Installed(index, self.log[index - 1][0], index))
            self.logs[node] = self.log[:index]
            self.committed[node] = self.applied[node] = index

    # --- what may not happen, though not every case of it breaks a rule ---

    def append_wrong(self, node: str) -> None:
        log = self.logs[node]
        at = self.rng.randint(0, len(log))
        term = self.rng.choice((self.term, log[at][0] if at < len(log) else self.term))
        del log[at:]
        command = self.rng.choice((self.log[at][1] if at < len(self.log) else "x", "wrong"))
        log.append((term, command))
        self.say(node, Appended(at + 1, term, (command,)))
        self.committed[node] = min(self.committed[node], at)
        self.applied[node] = min(self.applied[node], at)

    def truncate(self, node: str) -> None:
        log = self.logs[node]
        if log:
            del log[self.rng.randrange(len(log)) :]
            self.say(node, Truncated(len(log) + 1))
            self.committed[node] = min(self.committed[node], len(log))
            self.applied[node] = min(self.applied[node], len(log))

    def apply_wrong(self, node: str) -> None:
        last = self.rng.randint(1, max(1, len(self.logs[node])))
        term, command = self.logs[node][last - 1] if self.logs[node] else (1, "c0")
        self.say(node, Applied(self.rng.randint(1, last), last, term, self.rng.choice((command, command, "wrong"))))

    def lead(self, node: str) -> None:
        term = self.rng.randint(1, self.term + 1)
        self.say(node, Role("leader", term))
        self.say(node, Role("follower", self.term))

    def lose(self, node: str) -> None:
        log = self.logs[node]
        del log[self.rng.randint(0, len(log)) :]
        self.say(node, Started(1, 0))
        self.tell(node, log, 0)


def first_violation(records: list[TraceRecord], kept_max: int | None) -> Violation | None:
    observers = Observers(RULES, len(NODES), kept_max)
    return next((found for found in map(observers.observe, records) if found is not None), None)


@pytest.mark.parametrize("wrong_share", [0.0, 0.02, 0.1])
def test_a_ledger_that_forgets_finds_the_same_in_the_same_step(wrong_share: float) -> None:
    """Or finds more: what is applied is compared with what is committed, where nobody told that it had applied anything."""
    broken, about_forgotten = [], 0
    for seed in range(40):
        story = Story(Random(f"{seed}/{wrong_share}"), wrong_share)
        for _ in range(150):
            story.step()
        whole = first_violation(story.records, None)
        broken += [] if whole is None else [whole.rule]
        for kept_max in (1, 7):
            part = first_violation(story.records, kept_max)
            if part is not None and "that is not kept" in part.words:
                about_forgotten += 1
                if "applies" in part.words and (whole is None or part.time < whole.time):
                    continue
            assert _told(part) == _told(whole), (seed, kept_max)
    if not wrong_share:
        assert not broken
    else:
        assert set(broken) >= {"leader-completeness", "log-matching", "state-machine-safety"}
        assert about_forgotten


def _told(violation: Violation | None) -> tuple[str, int, str, object] | None:
    if violation is None:
        return None
    return violation.rule, violation.time, violation.nodes[-1], violation.details.get("index")


def test_a_command_that_is_not_kept_equals_itself_and_no_other() -> None:
    log = CommittedLog()
    nothing: tuple[int, object] = (1, None)
    log.extend([(1, {"a": 1, "b": [2]}), nothing, None, (3, "x"), (3, "y")], (3, "n1"))
    log.forget(4)
    assert len(log) == 5
    assert log.entries == [(3, "y")]
    assert log[0] == (1, {"b": [2], "a": 1})
    assert log[0] != (1, {"b": [2], "a": 2})
    assert log[0] != (2, {"b": [2], "a": 1})
    assert log[1] == nothing
    assert log[1] != (1, 0)
    assert log[2] is None
    assert [log.seen_in(position) for position in range(5)] == [(3, "n1")] * 5
    with pytest.raises(IndexError):
        log[5]
    assert plain(log[0]) == [1, in_words(Forgotten(1))]


def test_what_has_no_json_contradicts_nothing() -> None:
    log = CommittedLog()
    log.extend([(1, object()), (1, "x")], (1, "n1"))
    log.forget(2)
    assert log[0] is None
    assert log[1] == (1, object())


def test_the_last_entry_seen_committed_before_a_term_is_found_among_the_forgotten() -> None:
    log = CommittedLog()
    for term, count in ((1, 3), (3, 2), (4, 3)):
        log.extend([(term, str(number)) for number in range(count)], (term, "n1"))
    for forgotten in (0, 4, 4):
        log.forget(forgotten)
        assert [log.length_before(term) for term in range(1, 6)] == [0, 3, 3, 5, 8]
        assert [log.seen_in(position)[0] for position in range(8)] == [1] * 3 + [3] * 2 + [4] * 3


def test_memory_does_not_grow_with_the_log_but_for_a_digest_each() -> None:
    """Three nodes append, commit and apply; one of them dies early, and its log is forgotten as well."""
    observers = Observers(RULES, 3, kept_max=200)
    grown: list[int] = []
    tracemalloc.start()
    try:
        for index in range(1, 3_001):
            command = f"command {index}"
            for node in NODES[: 3 if index < 1000 else 2]:
                for event in (Appended(index, 1, (command,)), Committed(index), Applied(index, index, 1, command)):
                    assert observers.observe(TraceRecord(index, node, event)) is None
            if index % 1000 == 0:
                grown.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert grown[2] - grown[1] < 1000 * 16, grown
    view = observers.ledger.view("n3")
    assert (view.start, view.length) == (999, 999)
    assert len(observers.ledger.committed) == 3_000
    late: list[TraceEvent] = [Started(2, 0), Recovered(999, ((1, 1),), ("command 998", "command 999"))]
    late += [Appended(1000, 1, ("command 1000",)), Applied(1, 1000, 1, "command 1000")]
    assert [observers.observe(TraceRecord(3_001, "n3", event)) for event in late] == [None] * 4
    wrong = observers.observe(TraceRecord(3_002, "n3", Appended(1001, 1, ("wrong",))))
    assert wrong is not None
    assert wrong.rule == "log-matching"


def test_a_log_that_differs_from_what_is_committed_is_kept_from_there_on() -> None:
    committed = CommittedLog()
    committed.extend([(1, "a"), (1, "b"), (2, "c")], (2, "n1"))
    view = NodeView("n2", committed)
    view.log = [(1, "a"), (1, "other"), (2, "c")]
    view.fold(3)
    assert view.start == 1
    assert [view.entry_at(index) for index in (1, 2, 3)] == [(1, "a"), (1, "other"), (2, "c")]
    assert view.lacks(2, (1, "b"))
