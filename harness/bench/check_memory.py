"""What checking long histories of registers takes: peak memory and CPU time of `themis check`, and of all checks of a run.

    python -m harness.bench.check_memory [--row KIND OPERATIONS CLIENTS]

KIND is `check` (linearizability of a recorded history) or `run` (every checker of a run, as at the end of `themis test`, but
for the traces of its nodes, which are a stream). Each row has a process of its own, since memory is its peak. The histories are
linearizable by construction: an operation takes effect when it completes.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from checkers.verdict import Validity
from harness.cli.check import Budget, find_model, judge
from harness.cli.consistencies import LINEARIZABLE
from harness.run.check import analyze
from harness.spec import RunSpec
from harness.store.runs import Store
from histories import jsonl
from histories.files import load
from histories.op import Op

ROWS = [
    (kind, operations, clients)
    for kind in ("check", "run")
    for operations in (100_000, 1_000_000)
    for clients in (5, 100)
]
WANTED_MB = {100_000: 250, 1_000_000: 1_500}
OPERATIONS_A_KEY = 100
OP_NS = 100_000


def history(operations: int, clients: int) -> Iterator[Op]:
    """Reads, writes and cas of small values on registers, each client with one operation open at most."""
    rng = random.Random(f"{operations}/{clients}")
    nodes = ("n1", "n2", "n3", "n4", "n5")
    open_ops: dict[int, Op] = {}
    state: dict[int, int] = {}
    index = invoked = 0
    while invoked < operations or open_ops:
        client = rng.randrange(clients)
        if client in open_ops:
            op = open_ops.pop(client)
            value, error = op.value, None
            if op.f == "read":
                value = state.get(op.key)
            elif op.f == "write":
                state[op.key] = op.value
            elif state.get(op.key) == op.value[0]:
                state[op.key] = op.value[1]
            else:
                error = ["cas-mismatch"]
            end: Any = "fail" if error else "ok"
            yield Op(index, index * OP_NS, end, client, op.f, op.key, value, error, nodes[client % 5])
        elif invoked < operations:
            f = rng.choice(("read", "write", "cas"))
            value = {"read": None, "write": rng.randrange(5), "cas": [rng.randrange(5), rng.randrange(5)]}[f]
            open_ops[client] = Op(index, index * OP_NS, "invoke", client, f, invoked // OPERATIONS_A_KEY, value)
            yield open_ops[client]
            invoked += 1
        else:
            continue
        index += 1


def row(kind: str, operations: int, clients: int) -> dict[str, float]:
    """Measure here: peak_mb, and cpu_s of reading and checking. Raises AssertionError unless the history is found VALID."""
    with tempfile.TemporaryDirectory(prefix="themis-bench-") as place:
        if kind == "check":
            path = Path(place) / "history.jsonl"
            jsonl.write(path, history(operations, clients))
            began_s = time.process_time()
            verdict = judge(load(path, "auto"), find_model("cas-register"), Budget(None, None, None), observe=False)
        else:
            store = Store(Path(place))
            run = store.create(RunSpec(nemesis=(), concurrency=clients), "bench")
            jsonl.write(run.history, history(operations, clients))
            began_s = time.process_time()
            verdict = analyze(store, run, run.read_spec()).verdict.parts[LINEARIZABLE]
        assert verdict.validity is Validity.VALID, verdict.reason
        cpu_s = time.process_time() - began_s
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "cpu_s": cpu_s}


def measure() -> dict[str, float]:
    """Every row, each in a child process."""
    found: dict[str, float] = {}
    for kind, operations, clients in ROWS:
        command = [sys.executable, "-m", "harness.bench.check_memory", "--row", kind, str(operations), str(clients)]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1]
        told = msgspec.json.decode(said, type=dict[str, float])
        name = f"{kind} {operations:,} ops, {clients} clients"
        found[f"{name}: MB"], found[f"{name}: CPU s"] = told["peak_mb"], told["cpu_s"]
    return found | {f"wanted for {operations:,}: MB": mb for operations, mb in WANTED_MB.items()}


if __name__ == "__main__":
    given = sys.argv[1:]
    told = row(given[1], int(given[2]), int(given[3])) if given[:1] == ["--row"] else measure()
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
