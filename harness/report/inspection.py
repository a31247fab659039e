"""What a stored run came to, and why, in words and as a table of what happened around the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from checkers.evidence import Invariants, Linearizability, Refutation, Witness
from checkers.windows import fault_windows
from harness.environments.sim.message_log import LogEntry
from harness.errors import UsageError
from harness.report import summary
from harness.report.space_time import diagram
from harness.store.runs import RunDirectory
from histories import jsonl
from histories.history import History
from histories.op import Op, freeze
from histories.wellformed import MalformedHistory

NS_PER_S = 1_000_000_000


def as_data(run: RunDirectory, window: int) -> dict[str, Any]:
    """What `themis inspect --json` prints."""
    result = run.read_result()
    history = read(run)
    return {
        "run": str(run.path),
        "spec": msgspec.to_builtins(run.read_spec()),
        "result": msgspec.to_builtins(result),
        "around": [
            {"key": refuted.key, "ops": msgspec.to_builtins(around(history, refuted, window))}
            for refuted in refutations(run)
        ],
    }


def as_text(run: RunDirectory, window: int, span_ms: float) -> str:
    """The verdict, each refuted key explained, the ops around its failure, and the messages of `span_ms` before it."""
    result, spec = run.read_result(), run.read_spec()
    if result is None:
        return f"{run.path}: no verdict: the run was cut off or still goes on. `themis analyze {run.path}` makes one."
    history = read(run)
    lines = [summary.summary(run, result, spec), f"  target {spec.target}, workload {spec.workload}, env {spec.env}"]
    if spec.bugs:
        lines.append(f"  planted bugs: {', '.join(spec.bugs)}")
    lines += fault_lines(history)
    for refuted in refutations(run):
        lines += ["", *explanation(refuted), "", *table(around(history, refuted, window), mark=failed_indices(refuted))]
    if (failed_ns := failure_time(run)) is not None:
        lines += ["", *spacetime_lines(run, failed_ns, span_ms)]
    return "\n".join(lines)


def failure_time(run: RunDirectory) -> int | None:
    """When it went wrong, in ns since the run began: the first refuted operation's end, or the violated invariant."""
    times = [refuted.failed.completed_ns for refuted in refutations(run)]
    result = run.read_result()
    for part in result.verdict.parts.values() if result else ():
        if isinstance(part.evidence, Invariants) and part.evidence.violation is not None:
            times.append(part.evidence.violation.time)
    return min((time for time in times if time is not None), default=None)


def spacetime_lines(run: RunDirectory, failed_ns: int, span_ms: float) -> list[str]:
    """The messages between the nodes just before the failure, where the run kept them."""
    spec = run.read_spec()
    path = run.path / "messages.jsonl"
    if not path.is_file():
        hint = "  for a diagram of the messages before it, run the same seed again with: -e messages=true"
        return [hint] if spec.env == "sim" else []
    entries = msgspec.json.decode(b"[" + b",".join(path.read_bytes().splitlines()) + b"]", type=list[LogEntry])
    begin_ns = failed_ns - round(span_ms * 1e6)
    return [f"  the {span_ms:g} ms before it:", diagram(entries, spec.nodes, begin_ns, failed_ns)]


def read(run: RunDirectory) -> History:
    """The run's history. Raises UsageError when it is malformed or missing."""
    try:
        return jsonl.read(run.history).history
    except MalformedHistory as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{run.history}: {error.strerror or error}") from error


def refutations(run: RunDirectory) -> list[Refutation]:
    """The evidence of each refuted key, from whichever checker found it."""
    result = run.read_result()
    parts = result.verdict.parts.values() if result else ()
    found = (part.evidence for part in parts)
    return [refuted for evidence in found if isinstance(evidence, Linearizability) for refuted in evidence.refuted]


def explanation(refuted: Refutation) -> list[str]:
    """One refuted key in words: what does not fit, what was possible, and the smallest part that cannot be explained."""
    lines = [refuted.reason]
    lines += [f"  possible before it: {possible.because}" for possible in refuted.possible]
    if refuted.minimal is not None:
        operations = refuted.minimal.operations
        confirmed = f", confirmed by {refuted.minimal.confirmed_by}"
        lines.append(f"  these {len(operations)} operations alone cannot be explained{confirmed}:")
        lines += [f"    {operation_text(operation)}" for operation in operations]
    return lines


def operation_text(operation: Witness) -> str:
    """One operation of the minimal part, as a line: who, what, when."""
    said = [operation.f] if operation.argument is None else [operation.f, compact(operation.argument)]
    if operation.type != "ok":
        said.append("(never answered)" if operation.type != "fail" else "(refused)")
    elif operation.result != operation.argument:
        said.append(f"-> {compact(operation.result)}")
    node = f" ({operation.node})" if operation.node else ""
    times = (operation.invoked_ns, operation.completed_ns)
    span = "-".join("?" if time is None else f"{time / NS_PER_S:.6f}" for time in times)
    optional = "  (may as well not have happened)" if operation.is_optional else ""
    return f"{span} s  process {operation.process}{node}: {' '.join(said)}{optional}"


def compact(value: Any) -> str:
    """A value as JSON."""
    return msgspec.json.encode(value).decode()


def failed_indices(refuted: Refutation) -> set[int]:
    """The history indices of the operation that does not fit."""
    return {index for index in (refuted.failed.invoke, refuted.failed.complete) if index is not None}


def around(history: History, refuted: Refutation, window: int) -> list[Op]:
    """The ops on the refuted key, and the faults, nearest to the failure: `window` before it and half as many after."""
    marked = failed_indices(refuted)
    key = freeze(refuted.key)
    relevant = [op for op in history if not op.is_client or freeze(op.key) == key]
    last = max(marked)
    before = [op for op in relevant if op.index <= last]
    after = [op for op in relevant if op.index > last]
    return before[-window:] + after[: window // 2] if window else []


def fault_lines(history: History) -> list[str]:
    """How many faults of each name were seen to be in force, and how many may have been."""
    rows: dict[str, Counter[str]] = {}
    for window in fault_windows(history):
        rows.setdefault(window.name, Counter())[window.status] += 1
    told = [f"{name} " + ", ".join(f"{n} {status}" for status, n in sorted(row.items())) for name, row in rows.items()]
    return [f"  faults: {'; '.join(told)}"] if told else []


def table(ops: Sequence[Op], mark: Iterable[int] = ()) -> list[str]:
    """Ops as lines: time, process, node, type, f, value; those of `mark` pointed at."""
    marked = set(mark)
    rows = [
        (
            f"{op.time / NS_PER_S:.6f}",
            str(op.process),
            op.node or "",
            op.type,
            op.f,
            value_text(op),
        )
        for op in ops
    ]
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["      time (s), process, node, type, f, value"]
    for op, row in zip(ops, rows, strict=True):
        arrow = ">>" if op.index in marked else "  "
        cells = [
            cell.rjust(width) if n < 2 else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append(f"  {arrow}  {'  '.join(cells)}  {row[5]}".rstrip())
    return lines


def value_text(op: Op) -> str:
    """The value and the error, short enough for a line."""
    value = op.value
    if not op.is_client and isinstance(value, dict) and "status" in value:
        value = {name: value[name] for name in ("status", "did", "why") if value.get(name)}
    text = "" if value is None and op.type in ("invoke", "info", "fail") else compact(value)
    if op.error is not None:
        text += f"  [{op.error if isinstance(op.error, str) else compact(op.error)}]"
    return text if len(text) <= 100 else text[:99] + "…"
