"""`themis check --workload`: recorded histories of transactions from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.cli import run_command

CIRCLE = """
{:process 0 :type :invoke :f :txn :value [[:append :x 1] [:r :y nil]]}
{:process 1 :type :invoke :f :txn :value [[:append :x 2] [:append :y 1]]}
{:process 0 :type :ok :f :txn :value [[:append :x 1] [:r :y [1]]]}
{:process 1 :type :ok :f :txn :value [[:append :x 2] [:append :y 1]]}
{:process 2 :type :invoke :f :txn :value [[:r :x nil]]}
{:process 2 :type :ok :f :txn :value [[:r :x [1 2]]]}
"""
REGISTERS = """
{:process 0 :type :invoke :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 0 :type :ok :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 1 :type :invoke :f :txn :value [[:r :x nil] [:r :y nil]]}
{:process 1 :type :ok :f :txn :value [[:r :x 1] [:r :y 1]]}
"""


class Ended(NamedTuple):
    exit_code: int
    output: str


class Check:
    def __init__(self, file: Path, said: pytest.CaptureFixture[str]) -> None:
        self._file, self._said = file, said

    def __call__(self, text: str, *options: str) -> Ended:
        self._file.write_text(text.strip() + "\n")
        code = run_command(["check", str(self._file), *options])
        told = self._said.readouterr()
        return Ended(code, told.out + told.err)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path / "history.edn", capsys)


def test_a_history_of_another_database_is_checked_as_it_is(run: Check) -> None:
    found = run(CIRCLE, "--workload", "list-append", "--consistency-models", "serializable")
    assert found.exit_code == 1
    assert "G1c" in found.output
    assert "T1 comes before T2, because" in found.output
    assert "ruled out: read-committed" in found.output


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--consistency-models", "read-uncommitted"), 0),
        (("--consistency-models", ":read-uncommitted,PL-2"), 1),
        (("--anomalies", "G0"), 0),
        (("--anomalies", "G1"), 1),
        ((), 1),
    ],
)
def test_models_and_anomalies_decide(run: Check, options: tuple[str, ...], code: int) -> None:
    assert run(CIRCLE, "--workload", "list-append", *options).exit_code == code


def test_the_verdict_is_a_document_too(run: Check) -> None:
    found = run(CIRCLE, "--workload", "list-append", "--json")
    verdict = json.loads(found.output)
    assert verdict["validity"] == "invalid"
    assert verdict["stats"]["anomalies"] == {"G1c": 1}
    assert verdict["stats"]["not"] == ["read-committed"]
    assert {edge["why"][:2] for edge in verdict["evidence"]["findings"][0]["edges"]} == {"ww", "wr"}


def test_registers(run: Check) -> None:
    assert run(REGISTERS, "--workload", "rw-register", "--linearizable-keys", "--wfr-keys").exit_code == 0


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (CIRCLE, ("--workload", "rw-register"), "line 3: micro-operation: 'append'"),
        (
            CIRCLE + CIRCLE.replace(":process ", ":process 1"),
            ("--workload", "list-append"),
            "line 8: duplicate-append: 1",
        ),
        (CIRCLE, ("--workload", "list-append", "--consistency-models", "serialisable"), "did you mean 'serializable'?"),
        (CIRCLE, ("--workload", "list-append", "--anomalies", "G5"), "unknown anomaly 'G5'"),
        (CIRCLE, ("--workload", "list-append", "--consistency-models", ""), "nothing would be forbidden"),
        (CIRCLE, ("--workload", "list-append", "--wfr-keys"), "--workload rw-register"),
        (CIRCLE, ("--consistency-models", "serializable"), "this needs --workload"),
        (CIRCLE, (), "--workload, for transactions"),
        (REGISTERS.replace("[[:r :x nil] [:r :y nil]]", "7"), ("--workload", "rw-register"), ""),
    ],
)
def test_what_cannot_be_checked_is_refused_in_words(run: Check, text: str, options: tuple[str, ...], said: str) -> None:
    found = run(text, *options)
    if said:
        assert found.exit_code == 254
        assert said in found.output
    else:
        assert found.exit_code == 0  # What was asked counts for less than what was told.


SESSIONS = "w x 1\nw y 1\n---\nw x 2\n===\nr x 1\nr y 1\n"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--workload", "rw-register", "--consistency-models", "serializable"), 0, "VALID"),
        (
            ("--workload", "rw-register", "--consistency-models", "strong-session-serializable", "--sequential-keys"),
            0,
            "VALID",
        ),
        (("--workload", "rw-register"), 254, "nothing that counts real time"),
        (
            ("--workload", "rw-register", "--consistency-models", "serializable", "--linearizable-keys"),
            254,
            "real time",
        ),
        (("--model", "cas-register"), 254, "--workload rw-register can check it, and --consistency causal"),
        (("--checker", "total-queue"), 254, "--workload rw-register can check it, and --consistency causal"),
        (("--consistency", "causal"), 0, "VALID"),
        (("--consistency", "causal", "--checker", "staleness"), 254, "--workload rw-register can check it"),
        (("--consistency", "causal", "--workload", "bank"), 254, "--workload rw-register can check it"),
        (("--consistency", "causal", "--workload", "rw-register"), 254, "nothing that counts real time"),
        (
            ("--consistency", "causal", "--workload", "rw-register", "--consistency-models", "serializable"),
            0,
            "VALID",
        ),
    ],
)
def test_sessions_without_times_are_asked_only_what_needs_none(
    run: Check, options: tuple[str, ...], code: int, said: str
) -> None:
    found = run(SESSIONS, *options)
    assert (found.exit_code, said in found.output) == (code, True), found.output


CROSSED = """
{:process 0 :type :invoke :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 1 :type :invoke :f :txn :value [[:w :x 2] [:w :y 2]]}
{:process 0 :type :ok :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 1 :type :ok :f :txn :value [[:w :x 2] [:w :y 2]]}
{:process 2 :type :invoke :f :txn :value [[:r :x nil] [:r :y nil]]}
{:process 2 :type :ok :f :txn :value [[:r :x 1] [:r :y 2]]}
"""


def test_an_exact_check_finds_what_no_inference_shows(run: Check) -> None:
    plain = run(CROSSED, "--workload", "rw-register", "--consistency-models", "serializable")
    assert plain.exit_code == 0
    found = run(CROSSED, "--workload", "rw-register", "--consistency-models", "serializable", "--exact")
    assert found.exit_code == 1
    assert (
        "not serializable: no order of these 3 transactions explains what they read: each is needed for that"
        in found.output
    )
    assert run(REGISTERS, "--workload", "rw-register", "--exact").exit_code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--workload", "list-append"), "lists show their order themselves"),
        (("--workload", "bank"), "--exact is for --workload rw-register"),
        (("--model", "register"), "--exact is for --workload rw-register"),
        (("--workload", "rw-register", "--wfr-keys"), "leave out --wfr-keys"),
        (("--workload", "rw-register", "--consistency-models", "read-committed"), "--exact decides one of"),
        (("--workload", "rw-register", "--consistency-models", "serializable,si"), "--exact decides one of"),
        (("--workload", "rw-register", "--anomalies", "G1a"), "--exact decides one of"),
    ],
)
def test_what_an_exact_check_cannot_do_is_refused(run: Check, options: tuple[str, ...], told: str) -> None:
    found = run(CROSSED, "--exact", *options)
    assert found.exit_code == 254
    assert told in found.output


def test_read_atomic_and_read_committed_of_sessions(run: Check) -> None:
    torn = """
{:process 0 :type :invoke :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 0 :type :ok :f :txn :value [[:w :x 1] [:w :y 1]]}
{:process 0 :type :invoke :f :txn :value [[:w :x 2] [:w :y 2]]}
{:process 0 :type :ok :f :txn :value [[:w :x 2] [:w :y 2]]}
{:process 1 :type :invoke :f :txn :value [[:r :x nil] [:r :y nil]]}
{:process 1 :type :ok :f :txn :value [[:r :x 1] [:r :y 2]]}
"""
    assert run(torn, "--consistency", "read-committed").exit_code == 0
    found = run(torn, "--consistency", "read-atomic")
    assert found.exit_code == 1
    assert "read 'x' of the other" in found.output
