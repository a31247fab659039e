"""Restores in a history: what each course of events holds, what is given up, and what a checker then finds."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import timelines
from checkers.linearizability import linearizable
from checkers.models import registry as models
from checkers.sets import set_full
from checkers.verdict import Validity, Verdict
from histories.history import History
from histories.op import Op

NODES = ["n1", "n2", "n3"]
MS = 1_000_000


class Story:
    """Writes a history, one event a millisecond."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.backups = 0

    def event(self, process: Any, type: Any, f: str, value: Any = None, node: str | None = None) -> Story:
        index = len(self.ops)
        self.ops.append(Op(index, index * MS, type, process, f, None, value, None, node))
        return self

    def op(self, process: int, f: str, value: Any = None, end: str = "ok", node: str = "n1") -> Story:
        asked = None if f == "read" else value
        return self.event(process, "invoke", f, asked).event(process, end, f, value, node)

    def backup(self) -> Story:
        return self.backup_begins().backup_ends()

    def backup_begins(self) -> Story:
        return self.event("nemesis", "invoke", "take-backup")

    def backup_ends(self) -> Story:
        self.backups += 1
        return self.event("nemesis", "info", "take-backup", {"status": "installed", "did": {"backup": self.backups}})

    def restore(self, backup: int = 1, shape: str = "cluster", nodes: Any = None) -> Story:
        return self.restore_begins(shape, nodes).restore_ends(backup, shape, nodes)

    def restore_begins(self, shape: str = "cluster", nodes: Any = None) -> Story:
        return self.event("nemesis", "invoke", "restore", {"shape": shape, "nodes": nodes or NODES})

    def restore_ends(self, backup: int = 1, shape: str = "cluster", nodes: Any = None) -> Story:
        names = nodes or NODES
        did = {"shape": shape, "nodes": names, "backup": backup, "written": names}
        return self.event("nemesis", "info", "restore", {"status": "installed", "did": did})

    def history(self) -> History:
        return History(self.ops)


def register(history: History, context: None) -> Verdict:
    return linearizable(history.clients(), models.find("cas-register"))


def validity(story: Story) -> Validity:
    return timelines.checked("linearizable", register, story.history(), None).validity


def given_up(story: Story) -> list[list[Any]]:
    return [[op["value"] for op in restore.given_up] for restore in timelines.timelines(story.history())[0]]


def test_what_came_after_the_backup_is_gone_and_that_is_no_violation() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2).op(1, "read", 2).restore().op(1, "read", 1)
    assert register(story.history(), None).validity is Validity.INVALID
    assert validity(story) is Validity.VALID
    assert given_up(story) == [[2]]
    words = timelines.told(story.history()).stats["restores"][0]["words"]
    assert words == "the cluster was restored at 0.008 s: 1 update acknowledged after the backup at 0.003 s is gone"


def test_a_fault_of_another_tool_that_is_called_restore_cuts_nothing() -> None:
    story = Story().op(0, "write", 1).event("nemesis", "invoke", "restore").event("nemesis", "info", "restore")
    assert not timelines.is_restored(story.history())
    assert validity(story.op(1, "read", 1)) is Validity.VALID
    assert validity(story.op(1, "read", 2)) is Validity.INVALID


def test_what_came_before_the_backup_must_be_there() -> None:
    story = Story().op(0, "write", 1).op(0, "write", 2).backup().restore().op(1, "read", 1)
    verdict = timelines.checked("linearizable", register, story.history(), None)
    assert verdict.validity is Validity.INVALID
    assert verdict.reason.startswith("after the restore at 0.006 s of the backup at 0.005 s: ")


def test_what_was_given_up_must_not_come_back() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2).restore().op(1, "read", 2)
    assert validity(story) is Validity.INVALID


def test_a_violation_before_a_restore_is_found() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2).op(1, "read", 1).restore().op(1, "read", 1)
    assert validity(story) is Validity.INVALID


@pytest.mark.parametrize("read", [1, 2])
def test_a_write_during_the_backup_may_be_in_it_or_not(read: int) -> None:
    story = Story().op(0, "write", 1).backup_begins().op(0, "write", 2).backup_ends().restore().op(1, "read", read)
    assert validity(story) is Validity.VALID
    assert given_up(story) == [[]]


@pytest.mark.parametrize("read", [1, 2])
def test_a_write_during_the_restore_may_be_of_either_cluster(read: int) -> None:
    story = Story().op(0, "write", 1).backup().event(0, "invoke", "write", 2).restore_begins()
    story = story.event(0, "ok", "write", 2).restore_ends().op(1, "read", read)
    assert validity(story) is Validity.VALID


@pytest.mark.parametrize("read", [1, 2])
@pytest.mark.parametrize("is_ended", [True, False])
def test_a_write_of_unknown_outcome_may_still_come_after_the_restore(read: int, is_ended: bool) -> None:
    story = Story().op(0, "write", 1).backup().event(0, "invoke", "write", 2)
    story = (story.event(0, "info", "write", 2) if is_ended else story).restore().op(1, "read", read)
    assert validity(story) is Validity.VALID


def test_a_failed_write_comes_in_neither_course() -> None:
    story = Story().op(0, "write", 1).backup().event(0, "invoke", "write", 2).restore().event(0, "fail", "write", 2)
    assert validity(story.op(1, "read", 1)) is Validity.VALID
    assert validity(story.op(1, "read", 2)) is Validity.INVALID


def test_two_restores_of_one_backup_begin_from_it_both() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2).restore().op(0, "write", 3).op(1, "read", 3)
    story = story.restore().op(1, "read", 1)
    assert validity(story) is Validity.VALID
    assert given_up(story) == [[2], [3]]
    assert len(timelines.timelines(story.history())[1]) == 3
    assert validity(story.op(1, "read", 3)) is Validity.INVALID


def test_a_backup_of_the_restored_cluster_holds_what_that_had() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2).restore().op(0, "write", 3).backup()
    story = story.op(0, "write", 4).restore(2).op(1, "read", 3)
    assert validity(story) is Validity.VALID
    assert given_up(story) == [[2], [4]]


def test_a_restore_that_may_have_happened_leaves_the_verdict_open() -> None:
    story = Story().op(0, "write", 1).backup().restore_begins()
    story = story.event("nemesis", "info", "restore", {"status": "indeterminate", "why": "timed out"})
    assert validity(story.op(1, "read", 1)) is Validity.UNKNOWN
    assert timelines.told(story.history()).validity is Validity.UNKNOWN


@pytest.mark.parametrize("restored", [0, 1])
def test_a_restore_that_the_history_ends_amid_leaves_the_verdict_open(restored: int) -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2)
    if restored:
        story = story.restore().op(0, "write", 3)
    assert validity(story.restore_begins().op(1, "read", 1)) is Validity.UNKNOWN
    assert "the history ends amid the restore" in timelines.told(story.history()).reason


def test_a_restore_without_a_backup_that_the_history_ends_amid_changes_nothing() -> None:
    assert validity(Story().op(0, "write", 1).restore_begins().op(1, "read", 1)) is Validity.VALID


def test_what_was_removed_on_a_restored_node_is_not_said_to_have_come_back() -> None:
    """n1 has shown x before the backup was put back, and may lack it since: its removal there may have removed nothing."""
    story = Story().backup().op(0, "add", "x", node="n2").op(1, "read", ["x"], node="n1")
    story = story.restore(shape="node", nodes=["n1"]).op(2, "remove", "x", node="n1")
    for number, node in enumerate(NODES):
        story = story.op(6 + number, "read", ["x"], node=node)
    verdict = timelines.checked("set-full", lambda history, _: set_full(history), story.history(), None)
    assert verdict.validity is Validity.VALID, verdict.reason


def test_a_restore_that_was_skipped_changes_nothing() -> None:
    story = Story().op(0, "write", 1).restore_begins()
    story = story.event("nemesis", "info", "restore", {"status": "skipped", "why": "no backup was taken"})
    assert validity(story.op(1, "read", 1)) is Validity.VALID
    assert validity(story.op(1, "read", 2)) is Validity.INVALID


def test_one_restored_node_puts_in_doubt_what_it_acknowledged_since_the_backup() -> None:
    story = Story().op(0, "write", 1).backup().op(0, "write", 2, node="n1").op(2, "write", 3, node="n2")
    story = story.restore(shape="node", nodes=["n1"])
    found, courses = timelines.timelines(story.history())
    assert [op["value"] for op in found[0].given_up] == [2]
    assert found[0].words.endswith("1 update acknowledged by it after the backup at 0.003 s is in doubt")
    assert len(courses) == 1
    pairs = {invoked.value: done for invoked, done in courses[0].clients().pairs()}
    assert pairs[2] is None
    assert pairs[3] is not None
    assert pairs[3].type == "ok"


def test_only_the_last_course_has_an_end() -> None:
    seen: list[int] = []

    def count(history: History, context: None) -> Verdict:
        seen.append(len(history.clients()))
        return Verdict.valid("convergence")

    story = Story().op(0, "write", 1).backup().op(0, "write", 2).restore().op(1, "read", 1)
    timelines.checked("convergence", count, story.history(), None)
    assert seen == [4]
    timelines.checked("unique-ids", count, story.history(), None)
    assert seen == [4, 6]


def test_ops_that_stay_keep_their_process_and_their_index() -> None:
    story = Story().op(7, "write", 1).backup().event(7, "invoke", "write", 2).event(7, "info", "write", 2).restore()
    last = timelines.timelines(story.history())[1][-1].clients()
    assert [(op.index, op.process, op.type) for op in last] == [(0, 7, "invoke"), (1, 7, "ok"), (4, 8, "invoke")]
