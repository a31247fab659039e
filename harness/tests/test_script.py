"""Scripts: the same ops again, from a history or a file, and what a script may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import UsageError
from harness.generators import script
from harness.generators.script import Script, ScriptedOp
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from histories.history import History
from histories.units import NS_PER_S

SPEC = RunSpec(env="sim", nemesis=("partition", "kill"), time_limit_s=4.0, interval_s=1.0, concurrency=6, seed=5)


def run(spec: RunSpec, **saved: Any) -> tuple[MemorySink, History]:
    sink = MemorySink("scripted")
    result = execute(plan.prepare(spec, **saved), sink)
    assert not result.harness
    return sink, sink.history()


def test_the_script_of_a_run_gives_the_same_run() -> None:
    """All of its main phase; in what order clients begin the final reads at one time, the script does not say."""
    _, first = run(SPEC)
    recorded = script.recorded(first, SPEC.concurrency, int(SPEC.time_limit_s * NS_PER_S))
    recorded = msgspec.json.decode(msgspec.json.encode(recorded), type=Script)
    _, again = run(SPEC, script=recorded)
    main = sum(not op.is_final for op in recorded.ops)
    assert 0 < main < len(recorded.ops)
    final_at = [op.index for op in first if op.is_client and op.type == "invoke"][main]
    assert list(again)[:final_at] == list(first)[:final_at]
    assert len(again) == len(first)


def test_only_what_the_script_says_is_done_in_its_order_and_not_before_its_time() -> None:
    ops = (
        ScriptedOp(time_ns=NS_PER_S, thread=3, f="write", key=7, value=1),
        ScriptedOp(time_ns=NS_PER_S, thread=3, f="read", key=7),
        ScriptedOp(time_ns=2 * NS_PER_S, thread=0, f="read", key=7),
        ScriptedOp(time_ns=2 * NS_PER_S, thread=1, f="read", key=7, is_final=True),
    )
    _, history = run(msgspec.structs.replace(SPEC, nemesis=()), script=Script(ops=ops))
    asked = [op for op in history if op.type == "invoke"]
    assert [(op.process, op.f, op.key, op.value) for op in asked] == [
        (3, "write", 7, 1), (3, "read", 7, None), (0, "read", 7, None), (1, "read", 7, None)
    ]  # fmt: skip
    assert asked[0].time == NS_PER_S
    assert asked[1].time > NS_PER_S, "the client was busy"
    assert asked[2].time == 2 * NS_PER_S
    assert asked[3].time > (2 + SPEC.quiet_s) * NS_PER_S, "after the quiet period"


def test_the_spec_names_the_script() -> None:
    assert plan.prepare(SPEC, script=Script(ops=())).spec.script_digest != plan.prepare(SPEC).spec.script_digest == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "not a script of client ops"),
        ("{", "not a script of client ops"),
        ('{"ops": [{"thread": 0, "f": "read"}]}', "time_ns"),
        ('{"ops": [{"time_ns": -1, "thread": 0, "f": "read"}]}', "not negative"),
        ('{"ops": [{"time_ns": 1, "thread": 0, "f": "read", "nod": 1}]}', "nod"),
        ('{"ops": [{"time_ns": 1, "thread": 6, "f": "read"}]}', "op 0: thread 6, and the run has 6 clients"),
        (
            '{"ops": [{"time_ns": 2, "thread": 0, "f": "read"}, {"time_ns": 1, "thread": 0, "f": "read"}]}',
            "op 1: time_ns 1 is before",
        ),
        ('{"version": 2, "ops": []}', "format version 2; this themis reads version 1"),
    ],
)
def test_a_file_that_is_no_script_is_refused_with_the_rule(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"script\.json") as raised:
        script.load(path, 6)
    assert said in str(raised.value)


def test_a_script_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        script.load(tmp_path / "none.json", 6)
