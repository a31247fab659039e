"""`themis check` as its user meets it: what it says of a history, a model and a checker, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.models.model import Operation, State
from checkers.models.register import Register
from checkers.verdict import Verdict
from harness.tests.command import assert_refused, themis
from harness.workloads.base import WorkloadContext
from histories import jsonl
from histories.builder import h
from histories.history import History
from histories.op import Op


def test_a_malformed_history_names_file_line_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    assert_refused(themis("check", path, "--model", "register"), "history.jsonl", "2")


def test_check_says_what_it_found_and_exits_by_it(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    jsonl.write(good, h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 1"))
    jsonl.write(bad, h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 2"))
    assert themis("check", good, "--model", "register").returncode == 0
    ended = themis("check", bad, "--model", "register")
    assert ended.returncode == 1
    assert "read" in ended.stdout
    assert_refused(themis("check", good, "--model", "registre"), "did you mean 'register'")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("cas-register(init=0)", ("no parameter 'init'", "it has: initial")),
        ("cas-register(3)", ("word=JSON",)),
        ("semaphore(permits=x)", ("word=JSON",)),
        ("semaphore(permits=[1])", ("permits",)),
        (":", ("--model :",)),
        ("no.such.module:Model", ("no.such",)),
        ("harness.tests.command:SIM", ("not a model",)),
    ],
)
def test_a_model_that_cannot_be_had_is_refused(tmp_path: Path, model: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1"))
    assert_refused(themis("check", path, "--model", model), *words)


def test_check_is_told_how_the_object_begins(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke read | p0 ok read [1,2]"))
    words = ("check", path, "--model", "list-append")
    assert themis(*words).returncode == 1
    assert themis(*words, "--initial", "[1, 2]").returncode == 0
    assert_refused(themis(*words, "--initial", "1 2"), "--initial 1 2", "not JSON")
    assert_refused(themis(*words, "--initial", "\udcff"), "--initial", "not JSON")  # A byte that is none.
    assert_refused(themis(*words, "--initial", "[" * 5000), "--initial", "nested more than 200 deep")
    assert_refused(themis(*words, "--initial", "3"), "list-append", "begins as a list")
    assert_refused(themis("check", path, "--checker", "a:b", "--initial", "3"), "--initial", "--model")
    assert_refused(themis("check", path, "--model", "register(initial=1)", "--initial", "3"), "given twice")


def test_check_knows_the_relaxed_checkers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    twice = "p1 invoke dequeue | p1 ok dequeue 1 | p1 invoke dequeue | p1 ok dequeue 1"
    jsonl.write(path, h(f"p0 invoke enqueue 1 | p0 ok enqueue 1 | {twice}"))
    assert themis("check", path, "--checker", "total-queue").returncode == 0
    ended = themis("check", path, "--checker", "unordered-queue")
    assert ended.returncode == 1
    assert "duplicated: 1" in ended.stdout
    assert themis("check", path, "--checker", "unique-ids").returncode == 2
    assert_refused(themis("check", path, "--checker", "totl-queue"), "did you mean 'total-queue'")


def test_check_without_a_model_or_checker_names_the_models(tmp_path: Path) -> None:
    assert_refused(themis("check", tmp_path / "history.jsonl"), "--model", "cas-register", "--checker")


@pytest.mark.parametrize("text", ["", "p0 invoke write 1", "p0 invoke write 1 | p0 info write 1 | p3 invoke read"])
def test_a_history_in_which_nothing_succeeded_is_unknown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h(text) if text else History([]))
    ended = themis("check", path, "--model", "register")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "nothing was checked" in ended.stdout


def test_a_history_in_which_only_reads_of_anything_succeeded_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "history.edn"
    path.write_text("{:process 0 :type :invoke :f :read :value nil}\n{:process 0 :type :ok :f :read :value nil}\n")
    assert themis("check", path, "--model", "register").returncode == 2


def edn_of(*steps: tuple[int, str, str, str]) -> str:
    """A line for each op of (process, f, asked, told), all of which succeeded, as Jepsen writes them."""
    return "".join(
        f"{{:process {process} :type :{type_} :f :{f} :value {value}}}\n"
        for process, f, asked, told in steps
        for type_, value in (("invoke", asked), ("ok", told))
    )


@pytest.mark.parametrize(("key", "code"), [(5, 1), (6, 0)])
def test_the_keys_of_jepsens_causal_reverse_are_keys(tmp_path: Path, key: int, code: int) -> None:
    """The second write is seen without the first: of one key that is a reversal, of two it says nothing."""
    path = tmp_path / "history.edn"
    first, second = (0, "write", "[5 1]", "[5 1]"), (0, "write", f"[{key} 2]", f"[{key} 2]")
    path.write_text(edn_of(first, second, (1, "read", f"[{key} nil]", f"[{key} [2]]")))
    assert themis("check", path, "--workload", "causal-reverse").returncode == code


@pytest.mark.parametrize("checker", ["durability", "convergence"])
def test_a_final_read_of_nil_says_nothing_in_jepsens_histories(tmp_path: Path, checker: str) -> None:
    path = tmp_path / "history.edn"
    path.write_text(edn_of((0, "write", "1", "1"), (1, "read", "nil", "nil")))
    assert themis("check", path, "--checker", checker).returncode == 2
    path.write_text(edn_of((0, "write", "1", "1"), (1, "read", "nil", "2")))
    assert themis("check", path, "--checker", "durability").returncode == 1


@pytest.mark.parametrize(("ended", "code"), [("[1 2]", 1), (":timed-out", 0), ("[1 2] :timed-out", 0)])
def test_a_cas_that_failed_unanswered_saw_nothing(tmp_path: Path, ended: str, code: int) -> None:
    lines = ("invoke :write 1", "ok :write 1", "invoke :cas [1 2]", f"fail :cas {ended}")
    path = tmp_path / "history.log"
    path.write_text("".join(f"INFO  jepsen.util - 0 :{each}\n" for each in lines))
    assert themis("check", path, "--model", "cas-register").returncode == code


class Touchy(Register):
    """A model that raises: on the value 13 in `step`, on 14 while the shape of the values is looked at."""

    name = "touchy"

    def check(self, operation: Operation) -> str | None:
        if operation.argument == 14:
            raise ZeroDivisionError("fourteen")
        return super().check(operation)

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if operation.argument == 13:
            raise ZeroDivisionError("thirteen")
        return super().step(state, operation)


@pytest.mark.parametrize(("value", "word"), [(13, "thirteen"), (14, "fourteen")])
def test_a_model_that_raises_is_unknown_with_its_traceback(tmp_path: Path, value: int, word: str) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h(f"p0 invoke write {value} | p0 ok write {value}"))
    ended = themis("check", path, "--model", "harness.tests.test_cli_check:Touchy")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert word in ended.stdout
    assert "in step" in ended.stderr or "in check" in ended.stderr


def test_checkers_of_ones_own_check_a_file(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1"))
    own = ("--checker", "harness.tests.test_claims:first_op_is_wrong")
    assert themis("check", path, *own).returncode == 1
    both = themis("check", path, "--model", "register", *own)
    assert both.returncode == 1
    assert "VALID    linearizable" in both.stdout
    assert_refused(themis("check", path, "--checker", "first"), "unknown checker 'first'")


def linearizable(history: History, context: WorkloadContext) -> Verdict:
    """A checker that finds nothing, and is called like another one."""
    return Verdict.valid("mine")


def test_a_checker_of_ones_own_takes_no_other_verdicts_place(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read 2"))
    own = ("--checker", "harness.tests.test_cli_check:linearizable")
    assert themis("check", path, *own).returncode == 0
    assert_refused(themis("check", path, "--model", "register", *own), "is called 'linearizable' as well")


def test_what_is_printed_is_short_and_harmless(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    huge = "x" * 1_000_000 + "\x1b[31m"
    ops = [Op(0, 0, "invoke", 0, "write", None, huge), Op(1, 1, "ok", 0, "write", None, huge)]
    ops += [Op(2, 2, "invoke", 0, "read"), Op(3, 3, "ok", 0, "read", None, "\x1b[2J")]
    jsonl.write(path, History(ops))
    ended = themis("check", path, "--model", "register")
    assert ended.returncode == 1
    assert len(ended.stdout) < 3_000
    assert "\x1b" not in ended.stdout
    unfit = themis("check", path, "--model", "counter")
    assert_refused(unfit, "line 2")
    assert len(unfit.stderr) < 9_000


@pytest.mark.parametrize(
    ("text", "model", "words"),
    [
        ("p0 invoke write 1 | p0 ok write 1 | p0 invoke acquire | p0 ok acquire", "register", ("line 4", "acquire")),
        ("p0 invoke cas 1 | p0 ok cas 1", "cas-register", ("line 2", "cas")),
    ],
)
def test_a_history_that_does_not_fit_the_model_names_the_line(
    tmp_path: Path, text: str, model: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h(text))
    assert_refused(themis("check", path, "--model", model), "history.jsonl", *words)


def test_a_history_that_is_cut_off_is_said_so_with_json_too(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 2"))
    path.write_bytes(path.read_bytes()[:-9])
    for more in ((), ("--json",)):
        ended = themis("check", path, "--model", "register", *more)
        assert ended.returncode == 0
        assert "the last line is cut off; checking what is before it" in ended.stderr


def test_what_a_failed_cas_proves_is_asked_of_linearizability_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1"))
    assert_refused(themis("check", path, "--consistency", "causal", "--failed-cas", "observe"), "--failed-cas")
