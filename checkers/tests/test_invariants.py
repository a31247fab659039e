"""Each rule on traces of a few lines: what breaks it is found, and what looks like it but is legal is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.evidence import Invariants
from checkers.invariants import Observers, Violation, check_traces, registry
from checkers.invariants.ledger import Ledger
from checkers.invariants.observers import SHARD_NODES
from checkers.invariants.violation import Handler
from checkers.verdict import Validity, Verdict
from histories.tracing import (
    Appended,
    Applied,
    Committed,
    Custom,
    Installed,
    Recovered,
    Role,
    Shown,
    Started,
    TraceEvent,
    TraceRecord,
    Truncated,
    Voted,
)

OF_PAXOS = {
    "one-value-per-slot",
    "one-value-per-ballot",
    "chosen-stays-chosen",
    "learned-was-chosen",
    "promises-kept",
    "elected-ballots",
}
"""These have a file of their own: test_paxos_invariants.py."""
OF_COMMIT = {"atomic-commitment", "durable-decisions", "blocking"}
"""And these: test_commit_invariants.py."""
ALL = tuple(name for name in registry.BUILT_IN if name not in OF_PAXOS | OF_COMMIT)
AMONG_NODES = tuple(name for name in ALL if name != "kept-commits")
"""Without the rule that one node breaks alone when its disk loses what it had committed."""


def records(text: str) -> list[TraceRecord]:
    """Lines of `node kind fields...`, one ns apart: `n1 append 3 2 x y` is index 3, term 2, commands x and y; `n1 recovered 3 1:1
    2:4 | y z` a log of 3 entries, the first of term 1, the others of term 4, the last two commands y and z."""
    return [
        TraceRecord(time, line.split()[0], event(*line.split()[1:]))
        for time, line in enumerate(text.strip().splitlines())
    ]


def event(kind: str, *rest: str) -> TraceEvent:
    match kind:
        case "role":
            return Role(rest[0], int(rest[1]))
        case "append":
            return Appended(int(rest[0]), int(rest[1]), rest[2:])
        case "apply":
            return Applied(int(rest[0].split("-")[0]), int(rest[0].split("-")[-1]), int(rest[1]), rest[2])
        case "truncate":
            return Truncated(int(rest[0]))
        case "commit":
            return Committed(int(rest[0]))
        case "vote":
            return Voted(int(rest[0]), rest[1])
        case "shown":
            return Shown()
        case "started":
            return Started(1, 0, restored=int(rest[0]) if rest else 0)
        case "recovered":
            bar = rest.index("|") if "|" in rest else len(rest)
            terms = [(int(word.split(":")[0]), int(word.split(":")[1])) for word in rest[1:bar]]
            return Recovered(int(rest[0]), tuple(terms), rest[bar + 1 :])
        case "acknowledged-unsent":
            return Custom(kind, {"source": rest[0], "sequence": 9, "sent": 2, "match_index": 0, "last_index": 1})
        case "configured":
            return Custom(kind, {"index": 1, "term": 1, "voters": rest})
        case "changes":
            return Custom("configured", {"index": int(rest[0]), "term": int(rest[1]), "voters": rest[2:]})
        case "remembers":
            return Recovered(0, vote=(int(rest[0]), rest[1] if rest[1:] else None))
        case "install":
            return Installed(int(rest[0]), int(rest[1]), 0)
        case "handing-over":
            return Custom(kind, {"to": rest[0], "match_index": int(rest[1]), "last_index": int(rest[2])})
    return Custom(kind)


def check(text: str, node_count: int = 3, names: Sequence[str] = ALL) -> Verdict:
    observers = Observers(names, node_count)
    for record in records(text):
        violation = observers.observe(record)
        if violation is not None:
            return observers.verdict(violation)
    return observers.verdict(None)


BROKEN = {
    "kept-commits: a commit index falls": """
        n1 append 1 1 a b
        n1 commit 2
        n1 commit 1
    """,
    "kept-commits: a committed entry is cut off": """
        n1 append 1 1 a b
        n1 commit 2
        n1 truncate 2
    """,
    "kept-commits: an entry that an earlier process had committed is cut off": """
        n1 append 1 1 a b
        n1 commit 2
        n1 started
        n1 recovered 2 1:1 | a b
        n1 truncate 1
    """,
    "kept-commits: a committed entry is not on the disk": """
        n1 append 1 1 a b
        n1 commit 2
        n1 started
        n1 recovered 1 1:1 | a
    """,
    "kept-commits: nor is it there after two restarts": """
        n1 append 1 1 a b
        n1 commit 2
        n1 started
        n1 recovered 2 1:1 | a b
        n1 started
        n1 recovered 1 1:1 | a
    """,
    "sent-before-acknowledged": """
        n1 role leader 3
        n1 acknowledged-unsent n2
    """,
    "majority-commits: too few hold the entry": """
        n1 role leader 1
        n1 shown
        n1 append 1 1 a
        n1 commit 1
    """,
    "majority-commits: a node that does not vote was counted": """
        n1 configured n1 n2
        n1 role leader 1
        n1 shown
        n1 append 1 1 a
        n3 append 1 1 a
        n1 commit 1
    """,
    "transfer-catches-up": """
        n1 role leader 3
        n1 handing-over n2 4 4
        n1 handing-over n3 3 4
    """,
    "single-changes: before an entry of its own term is committed": """
        n1 append 1 1 a
        n1 commit 1
        n1 role leader 3
        n1 append 2 3 b
        n1 append 3 3 c
        n1 changes 3 3 n1 n2
    """,
    "single-changes: while another is not committed": """
        n1 role leader 3
        n1 append 1 3 a
        n1 commit 1
        n1 append 2 3 b
        n1 changes 2 3 n1 n2
        n1 append 3 3 c
        n1 changes 3 3 n1 n2 n3
    """,
    "installed-membership": """
        n1 shown
        n1 append 1 1 a
        n1 changes 1 1 n1 n2
        n1 commit 1
        n3 install 2 1
        n3 changes 0 0 n1 n2 n3
        n3 append 3 1 b
        n3 commit 3
    """,
    "persistent-state: a vote is gone after a restart": """
        n1 role follower 3
        n1 vote 3 n2
        n1 shown
        n1 started
        n1 role follower 3
        n1 remembers 3
    """,
    "election-safety": """
        n1 role leader 3
        n2 role follower 3
        n2 role leader 3
    """,
    "log-matching: another command at one place": """
        n1 append 1 1 a
        n2 append 1 1 b
    """,
    "log-matching: another past at one place": """
        n1 append 1 1 a
        n1 append 2 3 c
        n2 append 1 2 b
        n2 append 2 3 c
    """,
    "leader-completeness: the log is too short": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n3 role leader 2
    """,
    "leader-completeness: another entry stands there": """
        n1 role leader 2
        n1 append 1 2 a
        n2 append 1 2 a
        n1 commit 1
        n3 append 1 1 b
        n3 role leader 3
    """,
    "state-machine-safety: two commits": """
        n1 append 1 1 a
        n2 append 1 2 b
        n1 commit 1
        n2 commit 1
    """,
    "state-machine-safety: two applied": """
        n1 apply 1 1 a
        n2 apply 1 1 b
    """,
    "state-machine-safety: the same command of another term": """
        n1 apply 1 1 a
        n2 apply 1 2 a
    """,
    "persistent-state: a term that was shown is forgotten": """
        n1 role follower 3
        n1 shown
        n1 started
        n1 role follower 2
    """,
    "persistent-state: a vote that was shown is forgotten": """
        n1 role follower 3
        n1 vote 3 n2
        n1 shown
        n1 started
        n1 role follower 3
        n1 vote 3 n3
    """,
    "durability: a majority comes back without it": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n1 recovered 0
        n2 started
        n2 recovered 0
    """,
    "durability: a majority takes it back": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 truncate 1
        n2 truncate 1
        n1 role candidate 2
        n2 vote 2 n1
    """,
    "state-machine-safety: the first of two that are applied together was applied otherwise elsewhere": """
        n1 append 1 1 a
        n1 apply 1 1 a
        n2 append 1 2 b c
        n2 apply 1-2 2 c
    """,
    "log-matching: a disk gives back another command": """
        n1 append 1 1 a
        n1 append 2 1 b
        n1 started
        n1 recovered 2 1:1 | c
    """,
    "log-matching: a disk gives back another past": """
        n1 append 1 1 a
        n1 append 2 2 b
        n2 started
        n2 recovered 2 1:2 | a b
    """,
    "leader-completeness: what its disk kept is too short": """
        n1 role leader 1
        n1 append 1 1 a b
        n2 append 1 1 a b
        n1 commit 2
        n2 started
        n2 recovered 1 1:1
        n2 role leader 2
    """,
    "state-machine-safety: an entry in the middle": """
        n1 append 1 1 a
        n1 append 2 2 b
        n1 append 3 3 c
        n2 append 1 1 a
        n2 append 2 1 x
        n2 append 3 4 c
        n1 apply 1-3 3 c
        n2 apply 1-2 1 x
    """,
    "state-machine-safety: applied what its log does not hold": """
        n1 append 1 1 a
        n2 append 1 1 a
        n1 apply 1 1 a
        n2 apply 1 1 b
    """,
}


def violation_of(verdict: Verdict) -> Violation:
    violation = verdict.evidence_of(Invariants).violation
    assert violation is not None
    return violation


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    verdict = check(BROKEN[name], names=AMONG_NODES if name.startswith("durability") else ALL)
    assert verdict.validity is Validity.INVALID
    assert violation_of(verdict).rule == name.partition(":")[0], verdict.reason
    assert verdict.reason.startswith(name.partition(":")[0])


def test_two_commands_committed_in_one_term_differ_whatever_the_log_rules_say() -> None:
    text = """
        n1 append 1 1 a
        n1 commit 1
        n2 append 1 1 b
        n2 commit 1
    """
    verdict = check(text, names=("state-machine-safety",))
    assert verdict.validity is Validity.INVALID
    assert 'n2 commits "b" of term 1 at 1, where n1 committed "a"' in verdict.reason


def test_rules_about_terms_and_logs_are_watched_shard_by_shard() -> None:
    """Both groups have a leader of term 1 and an entry 1; a second leader of the term is found in its own group."""
    groups = {"n1": "s1", "n2": "s1", "n3": "s2", "n4": "s2"}
    text = """
        n1 role leader 1
        n3 role leader 1
        n1 append 1 1 x
        n3 append 1 1 y
        n1 commit 1
        n3 commit 1
    """
    rules = ("election-safety", "log-matching", "leader-completeness")
    found = check_traces(rules, records(text), 4, groups)
    assert found.validity is Validity.VALID
    assert (found.stats["nodes"], found.stats["committed"]) == (2, 2)
    assert check_traces(rules, records(text), 4).validity is Validity.INVALID, "of one group it would be wrong"
    found = check_traces(rules, records(text + "n2 role leader 1"), 4, groups)
    assert isinstance(found.evidence, Invariants)
    assert found.evidence.violation is not None
    assert found.evidence.violation.rule == "election-safety"
    assert found.evidence.violation.details["shard"] == "s1"
    assert found.evidence.violation.details[SHARD_NODES] == ["n1", "n2"]
    silent = check_traces(rules, records("n1 role leader 1"), 4, groups)
    assert silent.validity is Validity.UNKNOWN
    assert "leader-completeness" in silent.reason


def test_the_step_and_the_nodes_are_in_the_evidence() -> None:
    verdict = check(BROKEN["election-safety"])
    assert violation_of(verdict).nodes == ("n1", "n2")
    assert violation_of(verdict).time == 2
    assert violation_of(verdict).details["term"] == 3


LEGAL = {
    "a majority of the voters of the leader's last configuration holds what it commits": """
        n1 role leader 1
        n1 shown
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 configured n1
        n1 append 2 1 b
        n1 commit 2
    """,
    "a node that lost its disk is not asked what it held, and a follower does not count": """
        n1 role leader 1
        n1 shown
        n1 append 1 1 a
        n2 append 1 1 a
        n2 started
        n2 rejoining
        n2 recovered 0
        n1 commit 1
        n3 append 1 1 a
        n3 commit 1
    """,
    "a process that starts anew commits from the beginning": """
        n1 role follower 1
        n1 append 1 1 a b
        n1 commit 2
        n1 started
        n1 recovered 2 1:1 | a b
        n1 commit 1
        n1 commit 2
    """,
    "an entry that is not committed may go, in a crash and by a truncation": """
        n1 role follower 1
        n1 append 1 1 a b c
        n1 commit 1
        n1 truncate 3
        n1 started
        n1 recovered 1 1:1 | a
        n1 append 2 2 d
        n1 truncate 2
    """,
    "one leader after another": """
        n1 role leader 1
        n2 role leader 2
        n1 role leader 3
    """,
    "the same leader says it twice": """
        n1 role leader 1
        n1 role leader 1
    """,
    "an uncommitted entry is replaced": """
        n1 append 1 1 a
        n2 append 1 2 b
        n1 truncate 1
        n1 append 1 2 b
        n1 commit 1
        n2 commit 1
    """,
    "a late leader of an old term lacks what a newer one committed": """
        n1 role leader 5
        n1 append 1 5 a
        n2 append 1 5 a
        n1 commit 1
        n3 role leader 4
    """,
    "recovery tells how long the log is": """
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n1 role follower 1
        n1 recovered 1 1:1
        n1 role candidate 2
        n1 role leader 2
        n1 commit 1
    """,
    "an unsynced entry did not survive, and another took its place": """
        n1 append 1 1 a
        n1 append 2 1 b
        n1 started
        n1 role follower 1
        n1 recovered 1 1:1
        n1 append 2 2 c
        n1 commit 2
        n2 append 1 1 a
        n2 append 2 2 c
    """,
    "an unsynced truncation did not survive": """
        n2 append 1 1 a
        n2 append 2 1 b
        n2 append 3 1 d
        n1 append 1 1 a
        n1 append 2 1 b
        n1 truncate 2
        n1 append 2 2 c
        n1 started
        n1 recovered 2 1:1
        n1 append 3 1 d
        n2 commit 3
        n1 commit 3
    """,
    "a replaced entry whose record did not survive": """
        n2 append 1 1 a b
        n1 append 1 1 a b
        n1 append 2 2 c
        n1 started
        n1 recovered 2 1:1
        n2 commit 2
        n1 commit 2
    """,
    "what was on disk before it was traced, and is not told, is unknown": """
        n2 append 1 1 a b c
        n2 commit 3
        n1 append 1 1 a
        n1 started
        n1 recovered 3 1:1 | c
        n1 role leader 2
        n1 commit 3
    """,
    "unknown entries are not missing ones": """
        n1 append 1 1 a b
        n1 commit 2
        n2 started
        n2 recovered 2 1:1
        n3 started
        n3 recovered 2 1:1
    """,
    "a node that does not tell what its disk holds": """
        n1 role leader 1
        n1 append 1 1 a b
        n2 append 1 1 a b
        n1 commit 2
        n2 started
        n2 role leader 2
        n2 append 3 2 c
        n2 commit 3
    """,
    "a minority lost it": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n1 recovered 0
        n1 role candidate 2
        n1 role follower 3
    """,
    "a minority lost it, and another node has not told yet that it has it": """
        n1 role leader 1
        n3 role follower 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n1 recovered 0
        n1 role candidate 2
        n1 role follower 3
    """,
    "a follower's clock is ahead of that of its leader, which commits in its own term": """
        n1 role follower 2
        n1 append 1 2 a
        n1 commit 1
        n2 role leader 2
        n2 append 1 2 a
        n2 commit 1
    """,
    "all restart at once, and are seen half-way": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n3 append 1 1 a
        n1 commit 1
        n1 started
        n2 started
        n3 started
        n1 role follower 1
        n2 role follower 1
        n1 recovered 1 1:1
        n2 recovered 1 1:1
        n1 role candidate 2
        n2 vote 2 n1
        n1 role leader 2
    """,
    "everything is applied again after a restart": """
        n1 append 1 1 a
        n1 commit 1
        n1 apply 1 1 a
        n1 started
        n1 recovered 1 1:1
        n1 commit 1
        n1 apply 1-1 1 a
    """,
    "a term and a vote that no one saw may be forgotten": """
        n1 role follower 2
        n1 shown
        n1 role follower 3
        n1 vote 3 n2
        n1 started
        n1 role follower 2
        n1 role follower 3
        n1 vote 3 n3
        n1 shown
    """,
    "a vote is said again": """
        n1 role follower 3
        n1 vote 3 n2
        n1 shown
        n1 started
        n1 role follower 3
        n1 vote 3 n2
        n1 role follower 4
        n1 vote 4 n3
    """,
    "an unknown kind is passed over": """
        n1 role leader 1
        n1 gossip 1
    """,
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_breaks_no_rule(name: str) -> None:
    verdict = check(LEGAL[name], names=AMONG_NODES if name.startswith("a minority lost it") else ALL)
    assert verdict.validity is not Validity.INVALID, verdict.reason


WHOLE = """
    n1 role leader 1
    n1 vote 1 n1
    n1 append 1 1 a
    n1 commit 1
    n1 apply 1 1 a
    n1 gossip 1
"""


def test_traces_that_every_rule_could_judge_and_none_refutes_are_valid() -> None:
    verdict = check(WHOLE)
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.evidence == Invariants(ALL)


def test_a_rule_without_anything_to_judge_is_named_and_unknown() -> None:
    verdict = check(WHOLE.replace("n1 append 1 1 a", "n1 gossip"))
    assert verdict.validity is Validity.UNKNOWN
    assert verdict.reason == "no node traced an event that log-matching reads"


def test_what_the_driver_says_is_nothing_to_judge_by() -> None:
    verdict = check("n1 started\nn1 shown\nn1 gossip", names=["persistent-state"])
    assert verdict.validity is Validity.UNKNOWN
    assert check_traces(["election-safety"], []).validity is Validity.UNKNOWN


def test_only_the_rules_that_are_named_are_judged() -> None:
    assert check(BROKEN["election-safety"], names=["election-safety"]).validity is Validity.INVALID
    others = [name for name in ALL if name != "election-safety"]
    assert check(BROKEN["election-safety"], names=others).validity is Validity.UNKNOWN


class NoLeader:
    """A rule of somebody else's: nobody ever leads."""

    name = "no-leader"

    def __init__(self, _ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Role: self._on_role}
        self._node_count = node_count

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        if event.role != "leader":
            return None
        return Violation(self.name, f"{node} leads {self._node_count}", time_ns, (node,), {})


def test_a_rule_from_elsewhere_is_found_by_its_path() -> None:
    verdict = check("n1 role follower 1\nn2 role leader 1", names=[f"{__name__}:NoLeader"])
    assert verdict.validity is Validity.INVALID
    assert verdict.reason.startswith("no-leader: n2 leads 3")


def test_an_unknown_rule_is_an_error_that_names_it() -> None:
    with pytest.raises(LookupError, match="no-such-rule"):
        registry.find("no-such-rule")
    with pytest.raises(ValueError, match="is no rule"):
        registry.find(f"{__name__}:WHOLE")


def test_records_may_come_node_by_node() -> None:
    ordered = records(BROKEN["durability: a majority comes back without it"])
    by_node = sorted(ordered, key=lambda record: record.node)
    assert check_traces(ALL, by_node, 3) == check_traces(ALL, ordered, 3)


@pytest.mark.parametrize("name", BROKEN)
def test_rules_see_all_nodes_in_the_order_of_time(name: str) -> None:
    ordered = records(BROKEN[name])
    from_the_last_node = sorted(ordered, key=lambda record: record.node, reverse=True)
    assert check_traces(ALL, from_the_last_node, 3) == check_traces(ALL, ordered, 3)


def test_watching_online_stops_at_the_record_that_shows_it() -> None:
    observers = Observers(ALL, 3)
    seen = [observers.observe(record) for record in records(BROKEN["log-matching: another command at one place"])]
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].time == 1
    assert seen[1].nodes == ("n1", "n2")


NODES = ("n1", "n2", "n3")


@settings(deadline=None)
@given(st.data())
def test_a_ledger_follows_logs_that_crash_between_trace_and_record(data: st.DataObject) -> None:
    """Nodes append, truncate and crash at random; the disk keeps any prefix of what was not synced. The ledger never holds an
    entry that the log does not, and knows every entry that was traced."""
    observers = Observers(ALL, len(NODES))
    ledger = observers.ledger
    time = 0
    logs: dict[str, list[tuple[int, str]]] = {node: [] for node in NODES}
    disks: dict[str, list[list[tuple[int, str]]]] = {node: [[]] for node in NODES}
    term = 1

    def say(node: str, event: TraceEvent) -> None:
        nonlocal time
        time += 1
        observers.observe(TraceRecord(time, node, event))

    for _ in range(data.draw(st.integers(0, 40))):
        node = data.draw(st.sampled_from(NODES))
        log = logs[node]
        match data.draw(st.sampled_from(("append", "append", "replace", "truncate", "sync", "crash"))):
            case "append" | "replace" as how:
                # As in Raft, nobody writes two things at one index in one term.
                term += 1 if how == "replace" else data.draw(st.integers(0, 1))
                at = data.draw(st.integers(0, len(log))) if how == "replace" else len(log)
                commands = [f"{node}.{time}.{number}" for number in range(data.draw(st.integers(1, 3)))]
                del log[at:]
                log += [(term, command) for command in commands]
                say(node, Appended(at + 1, term, tuple(commands)))
                disks[node].append(list(log))
            case "truncate" if log:
                term += 1
                at = data.draw(st.integers(0, len(log) - 1))
                del log[at:]
                say(node, Truncated(at + 1))
                disks[node].append(list(log))
            case "sync":
                disks[node] = disks[node][-1:]
            case "crash":
                term += 1
                kept = disks[node][data.draw(st.integers(0, len(disks[node]) - 1))]
                logs[node], disks[node] = list(kept), [list(kept)]
                starts = [
                    (index, entry[0])
                    for index, entry in enumerate(kept, 1)
                    if index == 1 or kept[index - 2][0] != entry[0]
                ]
                tail = data.draw(st.integers(0, len(kept)))
                say(node, Started(1, 0))
                say(
                    node, Recovered(len(kept), tuple(starts), tuple(command for _, command in kept[len(kept) - tail :]))
                )
        for name, view in ledger.nodes.items():
            assert view.log == logs[name]
