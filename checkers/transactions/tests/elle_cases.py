"""`python -m checkers.transactions.tests.elle_cases FILE`: our verdicts and anomalies beside Elle's, for cases in JSON.

A case has name, workload, opts, history, well_formed, and what Elle answered (expected: valid, anomaly_types). Such a file is
data of Elle's authors and no part of this repository. 0 when every case agrees, or differs as REASONS says.

Cases that are not well-formed complete what nobody invoked. Such a history is refused; so they run with an invocation of each
completion in front, all at once.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from checkers.transactions import Inference, UnfitTransactions, Wanted
from checkers.transactions.check import analyze
from histories.history import History
from histories.op import Op
from histories.wellformed import MalformedHistory, require

_UNWRITTEN = "Elle stops with an assertion at an element that nobody appended; it is an anomaly here"
_ORDERED = "the option transaction-order, an order from outside the history, exists for Elle's own tests and not here"
_TWICE = "Elle stops with an assertion at an element that nobody appended; here an element that is appended twice is refused first"
_AT_FIRST = "the one value that nobody wrote is what the register held at first, and comes before all others; Elle leaves it out"
_REGISTERS, _LISTS = "elle.rw-register-test", "elle.list-append-test"

REASONS: Mapping[str, str] = {
    f"{_REGISTERS}/scc-sort-bug-test": (
        "also thin-air-read: one key was read as 1 and as nil, and 1 was never written: at most one of them is the initial state"
    ),
    f"{_LISTS}/sim-prefix-test": "also G-single-item, a cycle that Elle's search, which tries one candidate, misses",
    f"{_LISTS}/internal-cases-test / read nil, then something [internal-cases]": _UNWRITTEN,
    f"{_LISTS}/internal-cases-test / future read external [internal-cases]": _UNWRITTEN,
    f"{_REGISTERS}/checker-test / G-single transaction-order {{normalised: all concurrent}} #2": _ORDERED,
    f"{_REGISTERS}/checker-test / G2-item transaction-order {{normalised: all concurrent}} #2": _ORDERED,
    f"{_REGISTERS}/lost-update-test": _AT_FIRST,
    f"{_REGISTERS}/checker-test / Read doesn't return what was just been written": _AT_FIRST,
    f"{_REGISTERS}/checker-test / Read read returns what was just been written": _AT_FIRST,
    f"{_REGISTERS}/checker-test / wfr {{normalised: all concurrent}}": _AT_FIRST,
    # These are not well-formed.
    f"{_REGISTERS}/checker-test / wfr": _AT_FIRST,
    f"{_REGISTERS}/checker-test / G-single transaction-order #2": _ORDERED,
    f"{_REGISTERS}/checker-test / G2-item transaction-order #2": _ORDERED,
    f"{_REGISTERS}/type-sanity": "Elle stops with an assertion at integers of two Java types, which no file tells apart",
    f"{_LISTS}/g1a-cases-test / valid and invalid reads [g1a-cases]": _UNWRITTEN,
    f"{_LISTS}/g1b-cases-test / valid and invalid reads [g1b-cases]": _UNWRITTEN,
    f"{_LISTS}/internal-cases-test / good [internal-cases]": _UNWRITTEN,
    f"{_LISTS}/internal-cases-test / read-append-read [internal-cases]": _TWICE,
    f"{_LISTS}/internal-cases-test / append-read [internal-cases]": _TWICE,
}


def invoked(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The completions, each by a process of its own, behind an invocation of each."""
    ended = [{**op, "process": number} for number, op in enumerate(history) if op["type"] != "invoke"]
    asked = [[[*step[:2], None if step[0] == "r" else step[2]] for step in op["value"]] for op in ended]
    return [{**op, "type": "invoke", "value": value} for op, value in zip(ended, asked, strict=True)] + ended


def answer(case: Mapping[str, Any]) -> tuple[Any, Any]:
    """(validity, anomalies) as Elle writes them; a refusal is (None, why)."""
    options = case["opts"]
    inference = Inference(
        wfr_keys=bool(options.get("wfr-keys?")),
        sequential_keys=bool(options.get("sequential-keys?")),
        linearizable_keys=bool(options.get("linearizable-keys?")),
    )
    models = options.get("consistency-models", ["strict-serializable"]) or ()
    wanted = Wanted(tuple(models), tuple(options.get("anomalies", ())), inference)
    clients = [op for op in case["history"] if op["process"] is not None]
    ops = [Op(i, i, op["type"], op["process"], "txn", None, op["value"]) for i, op in enumerate(clients)]
    try:
        require(ops)
        found = analyze(History(ops), case["workload"], wanted)
    except (UnfitTransactions, MalformedHistory) as error:
        return None, f"refused: {error}"
    validity = False if found.is_invalid else "unknown" if found.undecided else True
    return validity, list(found.reported)


def main(arguments: list[str]) -> int:
    """Print what differs."""
    cases = msgspec.json.decode(Path(arguments[0]).read_bytes())
    agreed, explained, differ = Counter[bool](), Counter[bool](), 0
    for case in cases:
        is_well_formed = case["well_formed"]
        if not is_well_formed:
            if "refused" not in str(answer(case)[1]):
                print(f"{case['name']}: completes what nobody invoked, and was not refused")
                differ += 1
            case["history"] = invoked(case["history"])
        expected = case["expected"]
        validity, names = answer(case)
        if (validity, names) == (expected["valid"], expected.get("anomaly_types")):
            agreed[is_well_formed] += 1
            continue
        reason = REASONS.get(case["name"], "")
        explained[is_well_formed] += bool(reason)
        differ += not reason
        theirs = f"{expected['valid']} {expected.get('anomaly_types')}"
        print(f"{case['name']} {case['opts_edn']}: {validity} {names}, Elle {theirs}: {reason}")
    for words, is_well_formed in (("well-formed", True), ("not well-formed, all refused; with invocations", False)):
        print(f"{words}: {agreed[is_well_formed]} agree, {explained[is_well_formed]} differ with a reason")
    print(f"{differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
