"""Porcupine's two collections: the lines of its logs, and the traps in them that would change a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import Loaded, MalformedHistory, jsonl, logs


def log(path: Path, *lines: str, end: str = "\n") -> Loaded:
    path.write_text("\n".join(line.replace(" ", "\t") for line in lines).join(["", end]))
    text = path.read_text().split("\n")
    path.write_text("\n".join(f"INFO  jepsen.util - {line}" if line else line for line in text))
    return logs.read_jepsen_log(path)


def shown(loaded: Loaded) -> list[str]:
    return [
        f"{op.process} {op.type} {op.f} {op.value}" + (f" ({op.error})" if op.error is not None else "")
        for op in loaded.history
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.log"


def test_the_lines_of_the_etcd_collection(path: Path) -> None:
    loaded = log(
        path,
        "0 :invoke :read nil",
        "1 :invoke :write 4",
        "2 :invoke :cas 9",
        "0 :ok :read nil",
        "1 :info :write :timed-out",
        "2 :fail :cas 9",
    )
    assert shown(loaded) == [
        "0 invoke read None",
        "1 invoke write 4",
        "2 invoke cas 9",
        "0 ok read None",
        "1 info write None (timed-out)",
        "2 fail cas 9",
    ]
    assert (loaded.format, loaded.truncated) == ("jepsen-log", False)
    assert [op.time for op in loaded.history[:2]] == [0, 1_000_000]


def test_nil_is_what_was_read_not_a_wildcard(path: Path) -> None:
    assert not log(path, "0 :invoke :read nil", "0 :ok :read nil").nil_reads_are_wildcards


def test_a_read_that_timed_out_failed_and_its_process_goes_on(path: Path) -> None:
    loaded = log(path, "0 :invoke :read nil", "0 :fail :read :timed-out", "0 :invoke :read nil", "0 :ok :read 1")
    assert shown(loaded)[1] == "0 fail read None (timed-out)"


def test_a_process_never_returns_after_info(path: Path) -> None:
    with pytest.raises(MalformedHistory) as caught:
        log(path, "0 :invoke :write 1", "0 :info :write :timed-out", "0 :invoke :read nil")
    assert [(problem.line, problem.rule) for problem in caught.value.problems] == [(3, "after-info")]


def test_values_of_every_shape_and_todays_lines(path: Path) -> None:
    path.write_text(
        "2024-05-01 10:00:00,123{GMT}\tINFO\t[main] jepsen.core: Running test\n"
        "2024-05-01 10:00:01,123{GMT}\tINFO\t[jepsen worker 3] jepsen.util: 3\t:invoke\t:cas\t[3 0]\n"
        "2024-05-01 10:00:01,200{GMT}\tINFO\t[jepsen nemesis] jepsen.util: :nemesis\t:info\t:start\tnil\n"
        "2024-05-01 10:00:02,123{GMT}\tWARN\t[jepsen worker 3] jepsen.util: something else: 3\n"
        '2024-05-01 10:00:02,123{GMT}\tINFO\t[jepsen worker 3] jepsen.util: 3\t:info\t:cas\t[3 0]\t[:timeout "n1"]\n'
        '2024-05-01 10:00:03,200{GMT}\tINFO\t[jepsen nemesis] jepsen.util: :nemesis\t:info\t:start\t"Cut off n1"\n'
    )
    assert shown(logs.read_jepsen_log(path)) == [
        "3 invoke cas [3, 0]",
        "nemesis invoke start None",
        "3 info cas [3, 0] (['timeout', 'n1'])",
        "nemesis info start Cut off n1",
    ]


def test_pairs_of_key_and_value_are_split_as_in_edn(path: Path) -> None:
    loaded = log(
        path,
        "0 :invoke :write [7 1]",
        "1 :invoke :read [8 nil]",
        "2 :invoke :cas [7 [1 2]]",
        "0 :info :write :timed-out",
        "1 :ok :read [8 3]",
        "2 :fail :cas [7 [1 2]]",
    )
    assert [(op.key, op.value) for op in loaded.history] == [
        (7, 1),
        (8, None),
        (7, [1, 2]),
        (7, None),
        (8, 3),
        (7, [1, 2]),
    ]
    assert logs.read_jepsen_log(path, independent=False).history[0].value == [7, 1]


@pytest.mark.parametrize("last", ["1", "1 :", "1 :invoke", "1 :invoke :", "1 :invoke :cas [1"])
def test_a_last_line_that_was_cut_is_left_out(path: Path, last: str) -> None:
    loaded = log(path, "0 :invoke :read nil", last, end="")
    assert len(loaded.history) == 1
    assert loaded.truncated is (last != "1")


def test_refuses_by_line_and_rule(path: Path) -> None:
    with pytest.raises(MalformedHistory) as caught:
        log(path, "0 :ok :read 1", "1 :done :read 1", "1 :invoke :cas [1", "2 :invoke :read nil", "2 :ok :write 1")
    assert [f"{problem.line} {problem.rule}" for problem in caught.value.problems] == [
        "1 no-invocation",
        "2 syntax",
        "3 syntax",
        "5 f",
    ]


def test_a_log_without_ops_is_no_history(path: Path) -> None:
    path.write_text("INFO  jepsen.util - hello\n")
    with pytest.raises(MalformedHistory):
        logs.read_jepsen_log(path)


def test_the_key_value_collection(path: Path) -> None:
    path.write_text(
        '{:process 0, :type :invoke, :f :put, :key "3", :value "x 0 0 y"}\n'
        '{:process 1, :type :invoke, :f :get, :key "3", :value nil}\n'
        '{:process 1, :type :ok, :f :get, :key "3", :value ""}\n'
        '{:process 0, :type :ok, :f :put, :key "3", :value "x 0 0 y"}\n'
        '{:process 0, :type :invoke, :f :append, :key "3", :value "z"}\n'
    )
    loaded = logs.read_kv_log(path)
    assert [f"{op.process} {op.type} {op.f} {op.key} {op.value!r}" for op in loaded.history] == [
        "0 invoke put 3 'x 0 0 y'",
        "1 invoke get 3 None",
        "1 ok get 3 ''",
        "0 ok put 3 'x 0 0 y'",
        "0 invoke append 3 'z'",
    ]
    assert (loaded.format, loaded.metadata, loaded.nil_reads_are_wildcards) == ("kv-log", {"initial": ""}, False)


def test_hostile_lines_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    deep = "[" * 198 + "]" * 198
    path.write_text(f"INFO jepsen.util - 0 :invoke :write {deep}\nINFO jepsen.util - 0 :fail :write {deep} {deep} :a\n")
    history = logs.read_jepsen_log(path).history
    jsonl.write(tmp_path / "history.jsonl", history)
    assert jsonl.read(tmp_path / "history.jsonl").history == history
    path.write_text(
        f"INFO jepsen.util - {'9' * 5000} :invoke :write 1\nINFO jepsen.util - 0 :invoke :write [{deep}]\n"
        "INFO jepsen.util - 1 :invoke :write \\ok\x1b\n"
    )
    with pytest.raises(MalformedHistory) as caught:
        logs.read_jepsen_log(path)
    assert [each.line for each in caught.value.problems] == [1, 2, 3]
    assert "\x1b" not in str(caught.value)
