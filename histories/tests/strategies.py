"""Hypothesis strategies: values and well-formed histories as runs record them."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from histories import NEMESIS, Op

unhurried = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For every property here: a busy machine is no counterexample. The readers have millions of examples in harness.tests.fuzzing."""

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
fs = st.sampled_from(["read", "write", "cas", "txn", "start-partition"])


@st.composite
def histories(draw: st.DrawFn, values: st.SearchStrategy[Any] = json_values, keys: Any = None) -> list[Op]:
    """Well-formed ops of a few threads and the nemesis; some operations stay open. `keys`: a strategy, None for no
    keys.
    """
    ops: list[Op] = []
    open_ops: dict[int, Op] = {}
    processes = {0: 0, 1: 1, 2: 2}
    time_ns = 0
    for _ in range(draw(st.integers(0, 20))):
        thread = draw(st.integers(0, 3))
        time_ns += draw(st.integers(0, 1000))
        process: Any = NEMESIS if thread == 3 else processes[thread]
        if thread not in open_ops:
            key = None if keys is None or process == NEMESIS else draw(keys)
            op = Op(len(ops), time_ns, "invoke", process, draw(fs), key, draw(values), None, draw(st.none() | text))
            open_ops[thread] = op
        else:
            call = open_ops.pop(thread)
            type = "info" if process == NEMESIS else draw(st.sampled_from(["ok", "fail", "info"]))
            op = Op(len(ops), time_ns, type, process, call.f, call.key, draw(values), draw(values), call.node)  # type: ignore[arg-type]
            if type == "info" and process != NEMESIS:
                processes[thread] += 3
        ops.append(op)
    return ops
