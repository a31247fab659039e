"""`python -m checkers.transactions.tests.elle_cases FILE`: our verdicts and anomalies beside Elle's, for cases in JSON.

A case has name, workload, opts, history, well_formed, and what Elle answered (expected: valid, anomaly_types). Such a file is
data of Elle's authors and no part of this repository. 0 when every case agrees, or differs as REASONS says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from checkers.transactions import Inference, UnfitTransactions, Wanted
from checkers.transactions.check import analyze
from histories.history import History
from histories.op import Op
from histories.wellformed import MalformedHistory, require

REASONS: Mapping[str, str] = {
    "elle.rw-register-test/scc-sort-bug-test": (
        "also thin-air-read: one key was read as 1 and as nil, and 1 was never written: at most one of them is the initial state"
    ),
    "elle.list-append-test/sim-prefix-test": "also G-single-item, a cycle that Elle's search, which tries one candidate, misses",
    "elle.list-append-test/internal-cases-test / read nil, then something [internal-cases]": (
        "Elle stops with an assertion at an element that nobody appended; it is an anomaly here"
    ),
    "elle.list-append-test/internal-cases-test / future read external [internal-cases]": (
        "Elle stops with an assertion at an element that nobody appended; it is an anomaly here"
    ),
    "elle.rw-register-test/checker-test / G-single transaction-order {normalised: all concurrent} #2": (
        "the option transaction-order, an order from outside the history, exists for Elle's own tests and not here"
    ),
    "elle.rw-register-test/checker-test / G2-item transaction-order {normalised: all concurrent} #2": (
        "the option transaction-order, an order from outside the history, exists for Elle's own tests and not here"
    ),
}


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
    agreed, explained, differ = 0, 0, 0
    for case in cases:
        if not case["well_formed"]:
            continue
        expected = case["expected"]
        validity, names = answer(case)
        if (validity, names) == (expected["valid"], expected.get("anomaly_types")):
            agreed += 1
            continue
        reason = REASONS.get(case["name"], "")
        explained += bool(reason)
        differ += not reason
        theirs = f"{expected['valid']} {expected.get('anomaly_types')}"
        print(f"{case['name']} {case['opts_edn']}: {validity} {names}, Elle {theirs}: {reason}")
    print(f"{agreed} agree, {explained} differ with a reason, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
