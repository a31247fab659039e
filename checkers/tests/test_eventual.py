"""Convergence, durability, sets and staleness by example."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from checkers.eventual import convergence, counters_kept, registers_kept
from checkers.evidence import Findings
from checkers.sets import set_full
from checkers.staleness import staleness
from checkers.staleness.check import bounded_staleness
from checkers.tests.fault_ops import begins, ends, numbered
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN


def on_nodes(text: str) -> History:
    """The history; process 0 talks to n1, process 1 to n2, and so on."""
    return History(
        op if op.process == "nemesis" else msgspec.structs.replace(op, node=f"n{int(op.process) + 1}") for op in h(text)
    )


def op(process: int, f: str, value: Any = None, end: str = "ok", key: str = "x") -> str:
    """One operation, both of its ops; a read's value is what it returned."""
    argument = "" if f == "read" or value is None else msgspec.json.encode(value).decode()
    result = "" if value is None else msgspec.json.encode(value).decode()
    return f"p{process} invoke {f} {key}={argument} | p{process} {end} {f} {key}={result}"


def of(*ops: str) -> History:
    return on_nodes(" | ".join(ops))


def under(fault: list[Op], heal: list[Op], *groups: list[Op]) -> History:
    """The groups of client ops, of which all but the first come after the heal; process 0 talks to n1, process 1 to n2."""
    first, *others = groups
    late = [msgspec.structs.replace(op, time=op.time + 100) for group in others for op in group]
    return History(numbered(first, fault, heal, late))


def told(process: int, begin: int, f: str, asked: Any, result: Any = None) -> list[Op]:
    node = f"n{process + 1}"
    return [
        Op(0, begin, "invoke", process, f, "x", asked, node=node),
        Op(0, begin + 1, "ok", process, f, "x", result, node=node),
    ]


CUT = begins(20, "partition-1", ["n1", "n2"])


@pytest.mark.parametrize(
    ("check", "asked", "there", "elsewhere"),
    [
        (convergence, ("write", 1), 1, None),
        (registers_kept, ("write", 1), 1, None),
        (counters_kept, ("add", 1), 1, 0),
        (set_full, ("add", 1), [1], []),
    ],
)
def test_final_reads_prove_nothing_while_a_partition_may_still_stand(
    check: Any, asked: tuple[str, int], there: Any, elsewhere: Any
) -> None:
    ops = told(0, 1, asked[0], asked[1], asked[1]), told(0, 2, "read", None, there), told(1, 4, "read", None, elsewhere)
    healed = ends(50, {"partition-1": ["n1", "n2"]})
    assert check(under(CUT, healed, *ops)).validity is INVALID
    doubted = ends(50, {"partition-1": ["n1", "n2"]}, status="indeterminate")
    for heal in ([], doubted):
        verdict = check(under(CUT, heal, *ops))
        assert verdict.validity is UNKNOWN
        assert "partition n1 n2 was not seen to end" in verdict.reason


FAULT = "nemesis invoke heal | nemesis info heal"

CONVERGENCE = {
    "agree": ((op(0, "write", 1), FAULT, op(0, "read", 1), op(1, "read", 1)), VALID),
    "differ": ((op(0, "write", 1), FAULT, op(0, "read", 1), op(1, "read")), INVALID),
    "the last read of a node counts": ((op(0, "write", 1), op(0, "read", 1), op(1, "read"), op(1, "read", 1)), VALID),
    "reads before the heal count for nothing": (
        (op(0, "write", 1), op(0, "read", 1), op(1, "read", 1), FAULT),
        UNKNOWN,
    ),
    "reads before the last update count for nothing": (
        (op(0, "write", 1), op(0, "read", 1), op(1, "read"), op(0, "write", 2), op(0, "read", 2), op(1, "read", 2)),
        VALID,
    ),
    "reads before another key's last update count for nothing": (
        (
            op(0, "write", 1),
            op(0, "read", 1),
            op(1, "read"),
            op(0, "write", 2, key="y"),
            op(0, "read", 1),
            op(1, "read", 1),
        ),
        UNKNOWN,
    ),
    "one node alone": ((op(0, "write", 1), op(0, "read", 1)), UNKNOWN),
    "a node was not read in the end": (
        (op(0, "write", 1), op(2, "write", 2), op(0, "read", 1), op(1, "read", 1)),
        UNKNOWN,
    ),
    "a key was not read in the end": (
        (op(0, "write", 1), op(0, "write", 2, key="y"), op(0, "read", 1), op(1, "read", 1)),
        UNKNOWN,
    ),
    "nothing": ((op(0, "read", None, "fail"),), UNKNOWN),
}


@pytest.mark.parametrize("name", CONVERGENCE)
def test_convergence(name: str) -> None:
    ops, validity = CONVERGENCE[name]
    assert convergence(of(*ops)).validity is validity


@pytest.mark.parametrize(("last", "validity"), [(2, UNKNOWN), (1, VALID)])
def test_reads_that_differ_and_name_no_node_prove_nothing(last: int, validity: Validity) -> None:
    ops = (
        op(0, "write", 1),
        op(1, "write", 2),
        op(0, "read", 1),
        op(1, "read", 2),
        op(0, "read", 1),
        op(1, "read", last),
    )
    history = h(" | ".join(ops))
    assert convergence(history).validity is validity
    assert registers_kept(history).validity is validity


@pytest.mark.parametrize("check", [convergence, registers_kept])
def test_a_read_that_names_no_node_may_be_an_earlier_one_of_a_node_that_is_named(check: Any) -> None:
    history = of(op(0, "write", 1), op(0, "write", 2), op(2, "read", 1), op(0, "read", 2), op(1, "read", 2))
    unplaced = [msgspec.structs.replace(each, node=None) if each.process == 2 else each for each in history]
    assert check(history).validity is INVALID, "n3 disagrees"
    assert check(History(unplaced)).validity is UNKNOWN


@pytest.mark.parametrize(("f", "before", "after"), [("write", None, 1), ("add", [], [1])])
def test_a_read_from_before_the_last_update_is_not_final_where_the_clock_is_coarse(
    f: str, before: Any, after: Any
) -> None:
    ops = of(op(1, "read", before), op(0, f, 1), op(0, "read", after), op(2, "read", after))
    history = History(msgspec.structs.replace(each, time=0, node=each.node and "n1") for each in ops)
    far = History(msgspec.structs.replace(each, node="n2") if each.process == 1 else each for each in history)
    assert convergence(far, is_set=f == "add").validity is VALID
    assert (registers_kept if f == "write" else set_full)(far).validity is VALID


def test_who_disagrees_is_told_node_by_node() -> None:
    verdict = convergence(of(op(0, "write", 1), op(0, "read", 1), op(1, "read")))
    (finding,) = verdict.evidence_of(Findings).findings
    assert finding.nodes == ("n1", "n2")
    assert finding.tables[0].rows == (("n1", "1"), ("n2", "None"))


def test_the_order_of_a_sets_elements_does_not_matter() -> None:
    history = of(op(0, "add", 1), op(0, "read", [1, 2]), op(1, "read", [2, 1]))
    assert convergence(history, is_set=True).validity is VALID
    assert convergence(history).validity is INVALID


def test_when_all_agreed_is_told() -> None:
    history = of(op(0, "write", 1), FAULT, op(0, "read", 1), op(1, "read"), op(1, "read", 1), op(0, "read", 1))
    assert convergence(history).stats["converged_ns"] == 5_000_000


REGISTERS = {
    "kept": ((op(0, "write", 1), op(0, "read", 1), op(1, "read", 1)), VALID),
    "gone": ((op(0, "write", 1), op(0, "read"), op(1, "read")), INVALID),
    "overwritten by a concurrent one": (
        (op(0, "write", 1), op(1, "write", 2), op(0, "read", 1), op(1, "read", 1)),
        VALID,
    ),
    "overwritten by its own cause": (
        (op(0, "write", 1), op(1, "read", 1), op(1, "write", 2), op(0, "read", 1), op(1, "read", 1)),
        INVALID,
    ),
    "a write in doubt may be gone": ((op(0, "write", 1, "info"), op(1, "read"), op(2, "read")), VALID),
    "a write in doubt that was read may be gone": (
        (
            op(0, "write", 1),
            f"{op(1, 'read', 1)} | p1 invoke write x=2",
            op(2, "read", 2),
            "p1 info write x=2",
            op(2, "read", 1),
            op(0, "read", 1),
        ),
        UNKNOWN,  # Nobody could read on n2 in the end.
    ),
    "acknowledged before the one in doubt": (
        (
            op(0, "write", 1),
            f"{op(1, 'read', 1)} | {op(1, 'write', 2)} | p1 invoke write x=3",
            op(2, "read", 3),
            "p1 info write x=3",
            op(2, "read", 1),
            op(0, "read", 1),
        ),
        INVALID,
    ),
    "a failed write was read": ((op(0, "write", 1, "fail"), op(1, "read", 1), op(2, "read", 1)), INVALID),
    "from nowhere": ((op(0, "write", 1), op(0, "read", 3), op(1, "read", 3)), INVALID),
    "two writers of a value": (
        (op(0, "write", 1), op(1, "write", 1), op(0, "read", 1), op(1, "read", 1)),
        UNKNOWN,
    ),
    "not read in the end": ((op(0, "read"), op(0, "write", 1)), UNKNOWN),
}


@pytest.mark.parametrize("name", REGISTERS)
def test_registers(name: str) -> None:
    ops, validity = REGISTERS[name]
    assert registers_kept(of(*ops)).validity is validity


COUNTERS = {
    "exact": ((op(0, "add", 2), op(1, "add", -5), op(0, "read", -3), op(1, "read", -3)), VALID),
    "one is missing": ((op(0, "add", 2), op(1, "add", 3), op(0, "read", 2), op(1, "read", 2)), INVALID),
    "one counts twice": ((op(0, "add", 2), op(0, "read", 4), op(1, "read", 4)), INVALID),
    "in doubt and counted": ((op(0, "add", 2, "info"), op(1, "read", 2), op(2, "read", 2)), VALID),
    "in doubt and not counted": ((op(0, "add", 2, "info"), op(1, "read", 0), op(2, "read", 0)), VALID),
    "in doubt, downwards": ((op(0, "add", -2, "info"), op(1, "read", -2), op(2, "read", -2)), VALID),
    "beyond the doubt": ((op(0, "add", 2, "info"), op(1, "read", 3), op(2, "read", 3)), INVALID),
    "failed and counted": ((op(0, "add", 2, "fail"), op(1, "read", 2), op(2, "read", 2)), INVALID),
    "of another kind": ((op(0, "write", 2), op(1, "read", 2), op(2, "read", 2)), UNKNOWN),
    "no number": ((op(0, "add", 2), op(1, "read", "2"), op(2, "read", "2")), UNKNOWN),
    "not read in the end": ((op(1, "read", 0), op(0, "add", 2)), UNKNOWN),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters(name: str) -> None:
    ops, validity = COUNTERS[name]
    assert counters_kept(of(*ops)).validity is validity


SETS = {
    "kept": ((op(0, "add", 1), op(0, "read", [1]), op(1, "read", [1])), VALID, None),
    "lost": ((op(0, "add", 1), op(0, "read", [1]), op(1, "read", [])), INVALID, "lost"),
    "stale and then there": ((op(0, "add", 1), op(1, "read", []), op(0, "read", [1]), op(1, "read", [1])), VALID, None),
    "in doubt": ((op(0, "add", 1, "info"), op(1, "read", []), op(2, "read", [])), VALID, None),
    "removed": ((op(0, "add", 1), op(0, "remove", 1), op(0, "read", []), op(1, "read", [])), VALID, None),
    "removed where it was not yet": (
        (op(0, "add", 1), op(1, "remove", 1), op(0, "read", [1]), op(1, "read", [1])),
        VALID,
        None,
    ),
    "removed where it was acknowledged, and there": (
        (op(0, "add", 1), op(0, "remove", 1), op(0, "read", []), op(1, "read", [1])),
        INVALID,
        "resurrected",
    ),
    "back on the node that removed it": (
        (
            op(0, "add", 1),
            op(1, "read", [1]),
            op(1, "remove", 1),
            op(1, "read", [1]),
            op(0, "read", []),
            op(1, "read", []),
        ),
        INVALID,
        "resurrected",
    ),
    "perhaps removed": (
        (op(0, "add", 1), op(1, "remove", 1, "info"), op(0, "read", []), op(2, "read", [])),
        VALID,
        None,
    ),
    "a failed removal excuses nothing": (
        (op(0, "add", 1), op(1, "remove", 1, "fail"), op(0, "read", []), op(1, "read", [])),
        INVALID,
        "lost",
    ),
    "added again after a removal": (
        (op(0, "add", 1), op(0, "remove", 1), op(1, "add", 1), op(0, "read", [1]), op(1, "read", [1])),
        VALID,
        None,
    ),
    "from nowhere": ((op(0, "add", 1), op(0, "read", [1, 2]), op(1, "read", [1])), INVALID, "unexpected"),
    "its addition had failed": (
        (op(0, "add", 1, "fail"), op(0, "read", [1]), op(1, "read", [1])),
        INVALID,
        "unexpected",
    ),
    "its addition failed after it was read": (
        (
            "p0 invoke add x=1",
            op(1, "read", [1]),
            "p0 fail add x=1",
            op(0, "read", []),
            op(1, "read", []),
        ),
        INVALID,
        "unexpected",
    ),
    "read before it was added": (
        (op(1, "read", [1]), op(0, "add", 1), op(0, "read", [1]), op(1, "read", [1])),
        INVALID,
        "unexpected",
    ),
    "twice": ((op(0, "add", 1), op(0, "read", [1, 1]), op(1, "read", [1])), INVALID, "duplicated"),
    "no list": ((op(0, "add", 1), op(0, "read", 1), op(1, "read", 1)), UNKNOWN, None),
    "of another kind": ((op(0, "push", 1),), UNKNOWN, None),
    "not read in the end": ((op(0, "add", 1),), UNKNOWN, None),
}


@pytest.mark.parametrize("name", SETS)
def test_sets(name: str) -> None:
    ops, validity, kind = SETS[name]
    verdict = set_full(of(*ops))
    assert verdict.validity is validity, verdict
    if kind is not None:
        assert verdict.stats[kind] == 1
        assert verdict.reason.startswith(kind)


def test_an_element_whose_addition_failed_is_unexpected_in_every_read() -> None:
    begun = "p0 invoke add 1 | p1 invoke read | p1 ok read [1] | "
    ended = " | p1 invoke read | p1 ok read [1] | p2 invoke read | p2 ok read [1]"
    assert set_full(h(f"{begun}p0 info add 1{ended}")).validity is VALID
    verdict = set_full(h(f"{begun}p0 fail add 1{ended}"))
    assert verdict.validity is INVALID
    assert [note.index for note in verdict.evidence_of(Findings).findings[0].ops] == [2, 5, 7]


def test_how_long_elements_took_to_stay() -> None:
    verdict = set_full(of(op(0, "add", 1), op(1, "read", []), op(0, "read", [1]), op(1, "read", [1])))
    assert (verdict.stats["stale"], verdict.stats["never_read"]) == (1, 0)
    assert verdict.stats["stable_ns"]["1.0"] == 1_000_000


def test_how_old_reads_are() -> None:
    history = of(
        op(0, "write", 1), op(0, "write", 2), op(0, "write", 3), op(1, "read", 1), op(1, "read", 3), op(2, "read")
    )
    stats = staleness(history).stats
    assert (stats["reads"], stats["stale"]) == (3, 2)
    assert stats["lag"]["1.0"] == 3, "what was there at first has been overwritten three times"
    assert stats["age_ns"]["1.0"] == 9_000_000
    assert stats["k_staleness"]["0"] == pytest.approx(1 / 3, abs=1e-6)
    assert stats["t_visibility"]["10 ms"] == 1.0


def test_overlapping_writes_and_writes_in_doubt_make_no_read_old() -> None:
    overlap = h("p0 invoke write 1 | p1 invoke write 2 | p0 ok write 1 | p1 ok write 2 | p2 invoke read | p2 ok read 1")
    assert staleness(overlap).stats["stale"] == 0
    doubt = h("p0 invoke write 1 | p0 info write 1 | p1 invoke write 2 | p1 ok write 2 | p2 invoke read | p2 ok read 1")
    assert staleness(doubt).stats["stale"] == 0


def test_a_bound_on_staleness_can_be_broken() -> None:
    history = of(op(0, "write", 1), op(0, "write", 2), op(1, "read", 1))
    assert bounded_staleness(history).validity is VALID
    assert staleness(history, bound_ns=0).validity is INVALID
    assert staleness(of(op(0, "write", 1))).validity is UNKNOWN
