"""Files that somebody damaged, or made to do harm, given to the real command: it ends with 254 and one message that names the file,
and the line where there is one; it shows no traceback and no raw control character, whatever the file holds.

The readers alone are fuzzed in test_fuzz_readers.py; damaged folders of runs are in test_damaged_runs.py.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run_command
from harness.errors import UNKNOWN, USAGE, VALID
from harness.run.execute import run_into
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.store.runs import Store
from histories import jsonl, whole_file
from histories.builder import h

ESCAPES = b"\x1b[2J\x1b]0;owned\x07\x9b31m"
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HEADER = b'{"themis-history":1}\n'
INVOKE = b'{"index":0,"time":0,"type":"invoke","process":0,"f":"write","value":1}\n'
OK = b'{"index":1,"time":9,"type":"ok","process":0,"f":"write","value":1}\n'
WHOLE = HEADER + INVOKE + OK
SPEC = RunSpec(
    env="sim", nodes=("n1", "n2", "n3"), concurrency=4, time_limit_s=0.5, quiet_s=0.1, seed=1, nemesis=("partition",)
)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """The exit code, and all that was printed, which is short and harmless."""
    code = run_command([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    told = printed.out + printed.err
    assert "Traceback" not in told, told
    assert "unexpected" not in printed.err.partition(":")[2][:12], told
    assert not HARMFUL.search(told), ascii(told[:500])
    assert len(told) < 4_000
    return code, told


# --- histories -----------------------------------------------------------------------------------------------------------


def line_2(**fields: Any) -> bytes:
    """A history whose second line has these fields."""
    return HEADER + json.dumps({**json.loads(INVOKE), **fields}).encode() + b"\n" + OK


def value(text: bytes) -> bytes:
    """A history whose second line has this value."""
    return HEADER + INVOKE.replace(b'"value":1', b'"value":' + text) + OK


def edn(fields: bytes) -> bytes:
    """A history in EDN of one whole op, then one with these fields, on line 3."""
    op = b"{:process 0, :type %s, :f :write, :value 1}\n"
    return op % b":invoke" + op % b":ok" + b"{" + fields + b"}\n"


EMPTY_LINES = gzip.compress(HEADER + b"\n" * 10_000_000, 1)

HISTORIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 1, "the file is empty"),
    "white space": (b" \n\n", 1, "the file is empty"),
    "NULs": (bytes(100), 1, "binary data"),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(64), 1, "binary data"),
    "UTF-16": (WHOLE.decode().encode("utf-16"), 1, "binary data"),
    "a byte order mark": (b"\xef\xbb\xbf" + WHOLE, 1, "header"),
    "a web page": (b"<!doctype html><p>hi", 1, "none of jsonl, edn"),
    "escapes alone": (ESCAPES, 1, "none of jsonl, edn"),
    "CSV": (b"index,time\n1,2\n", 1, "none of jsonl, edn"),
    "an empty list": (b"[]\n", 1, "no op in it"),
    "no header": (INVOKE + OK, 1, "header"),
    "half a header": (b'{"themis-his', 1, "header"),
    "carriage returns": (WHOLE.replace(b"\n", b"\r"), 1, "header"),
    "another version": (WHOLE.replace(b":1", b":2", 1), 1, "version 2; this reader knows 1"),
    "a version in words": (WHOLE.replace(b":1", b':"' + b"x" * 9999 + b'"', 1), 1, "version"),
    "invalid UTF-8": (WHOLE.replace(b"write", b"wr\xffite", 1), 2, "not UTF-8"),
    "half a surrogate pair": (WHOLE.replace(b'"write"', b'"\\ud800"', 1), 2, "surrogate"),
    "a deep value": (value(b"[" * 5000 + b"]" * 5000), 2, "nested more than 200 deep"),
    "brackets": (HEADER + b"[" * 100_000, 2, "nested more than 200 deep"),
    "an integer of 6,000 digits": (value(b"9" * 6000), 2, "out of range"),
    "a number beyond range": (value(b"1e999"), 2, "out of range"),
    "not a number": (value(b"NaN"), 2, "malformed"),
    "escapes between": (HEADER + INVOKE + ESCAPES + b"\n" + OK, 3, "malformed"),
    "escapes as a type": (line_2(type="\x1b[2J"), 2, "is not a type"),
    "escapes as a process": (line_2(process="\x1b[2J"), 2, "is not a process"),
    "a line of 3 MB": (HEADER + b"x" * 3_000_000 + b"\n", 2, "malformed"),
    "a field of 3 MB": (line_2(type="x" * 3_000_000), 2, "is not a type"),
    "a list": (HEADER + b"[]\n", 2, "Expected `object`"),
    "a text": (HEADER + b'"a"\n', 2, "Expected `object`"),
    "null": (HEADER + b"null\n", 2, "Expected `object`"),
    "a text for the index": (line_2(index="0"), 2, "$.index"),
    "a text for the time": (line_2(time="x"), 2, "$.time"),
    "a number for the type": (line_2(type=5), 2, "is not a type"),
    "a list for the process": (line_2(process=[1]), 2, "is not a process"),
    "a list for f": (line_2(f=["a"]), 2, "$.f"),
    "a strange field": (line_2(colour="red"), 2, "colour"),
    "a negative time": (line_2(time=-5), 2, "before the run began"),
    "half a line within": (HEADER + INVOKE[:20] + b"\n" + OK, 2, "truncated"),
    "10,000 bad lines": (WHOLE + b"{nope}\n" * 10_000, 4, "10000 broken rules"),
    "10 million empty lines": (EMPTY_LINES, 2, "more than 100,000 broken rules"),
    "an op twice": (HEADER + INVOKE + INVOKE, 3, "still open"),
    "an answer alone": (HEADER + OK, 2, "no operation open"),
    "a gap": (HEADER + INVOKE + OK.replace(b":1,", b":7,", 1), 3, "index 7 where 1 was due"),
    "an op that the model lacks": (WHOLE.replace(b"write", b"fly"), 2, "it knows no 'fly'"),
    "EDN, half a map": (edn(b":process 0, :type :invoke, :f"), 3, "a key without a value"),
    "EDN, a key twice": (edn(b":process 0, :process 1"), 3, "a key twice"),
    "EDN, deep": (edn(b":value " + b"[" * 5000), 3, "nested more than 200 deep"),
    "EDN, 5,000 tags": (edn(b":value " + b"#a " * 5000 + b"1"), 3, "nested more than 200 deep"),
    "EDN, no character": (edn(b":value \\uzzzz"), 3, "is no character"),
    "EDN, invalid UTF-8": (edn(b':value "\xff"'), 3, "not UTF-8"),
    "EDN, escapes": (edn(b":f :wr" + ESCAPES + b"ite"), 3, "not UTF-8"),
    "EDN, a code to run": (edn(b":value #=(System/exit 0)"), 3, "begins no value"),
    "EDN, a regex": (edn(b':value #"a+"'), 3, "begins no value"),
    "EDN, an integer of 6,000 digits": (edn(b":process " + b"9" * 6000), 3, "more than 4000 digits"),
    "EDN, a type that is none": (edn(b":process 0, :type :\xe2\x80\xaebanana, :f :w"), 3, "is not a type"),
    "EDN, no type": (edn(b":process 0, :f :w"), 3, "nil is not a type"),
    "EDN, the wrong bracket": (edn(b":value 1]"), 3, "] where } was due"),
    "EDN, more after the list": (b"[{:process 0, :type :invoke, :f :write, :value 1}] more", 1, "follows the end"),
    "gzip, cut": (gzip.compress(WHOLE * 99)[:60], 1, "its end is missing"),
    "gzip, no gzip": (b"\x1f\x8b" + b"z" * 99, 1, "the gzip data is damaged"),
    "gzip, twice": (gzip.compress(gzip.compress(WHOLE)), 1, "binary data"),
    "gzip, hostile inside": (gzip.compress(HEADER + ESCAPES + b"\n"), 2, "malformed"),
    "a Jepsen log, no value": (b"INFO  jepsen.util - 0\t:invoke\t:write\t[[[\n", 1, "ends inside a value"),
    "a Jepsen log, a huge process": (b"INFO  jepsen.util - " + b"9" * 6000 + b"\t:ok\t:w\t4\n", 1, "a process"),
    "a Jepsen log, escapes": (b"INFO  jepsen.util - 0\t:ok\t:w\x1b[2J\t4\n", 1, "no operation open"),
    "a log of puts, cut": (b'{:process 0, :type :invoke, :f :put, :key "0", :value "x}\n', 1, "does not end"),
    "a log of puts, an answer alone": (
        b'{:process 0, :type :ok, :f :put, :key "0", :value "x"}\n',
        1,
        "no operation open",
    ),
}
"""What is wrong -> the file, the first line that is wrong, and what is said of it."""


@pytest.mark.parametrize("name", HISTORIES)
def test_check_names_the_file_the_line_and_the_rule(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, rule = HISTORIES[name]
    path = tmp_path / "hostile.history"
    path.write_bytes(text)
    code, told = ended(capsys, "check", path, "--model", "register")
    assert code == USAGE, told
    assert "hostile.history" in told
    assert f"line {line}:" in told, told
    assert rule in told


TAKEN: dict[str, tuple[bytes, int]] = {
    "a last line that was cut": (HEADER + INVOKE + OK[:20], UNKNOWN),
    "a header alone": (HEADER, UNKNOWN),
    "Windows' line ends": (WHOLE.replace(b"\n", b"\r\n"), VALID),
    "gzip": (gzip.compress(WHOLE), VALID),
    "EDN, a last map that was cut": (b"[" + edn(b"")[:-2], VALID),
    "EDN, a last text that was cut": (edn(b':value "abc'), VALID),
    "EDN, an unknown tag": (edn(b":process 1, :type :invoke, :f :write, :value #foo/bar {:a 1}"), VALID),
    "values of 199 levels": (value(b"[" * 199 + b"]" * 199), VALID),
    "an integer of 30 digits": (value(b"9" * 30), VALID),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_only_strange_is_checked(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, expected = TAKEN[name]
    (tmp_path / "strange.history").write_bytes(text)
    code, told = ended(capsys, "check", tmp_path / "strange.history", "--model", "register")
    assert code == expected, told


# --- what is no file -----------------------------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    """A named pipe that nobody writes into: whoever opens it waits for ever."""
    os.mkfifo(path)


def listener(path: Path) -> None:
    """A socket with a name."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # A socket's name has 107 bytes at most.
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def zeros(path: Path) -> None:
    """A file that never ends."""
    path.symlink_to("/dev/zero")


def bad_disk(path: Path) -> None:
    """A file that the kernel lets nobody read, root included."""
    path.symlink_to("/proc/self/mem")


def huge(path: Path) -> None:
    """A file that says it has a TiB, and has nothing on the disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


SHAPES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "directory"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "a link to nowhere": (lambda path: path.symlink_to("/nowhere/at/all"), ""),
    "a file on a bad disk": (bad_disk, "Input/output error"),
    "a socket": (listener, ""),
    "a pipe": (pipe, ""),
    "a device": (zeros, ""),
    "a huge file": (huge, ""),
}
NAMED = [
    (command, shape)
    for command in ("check", "test --schedule")
    for shape in SHAPES
    if shape not in ("a pipe", "a huge file")
]
NAMED.remove(("test --schedule", "a device"))
"""What a user names by himself is read, as a pipe: he may have asked the shell for one, or for a device without an end."""


@pytest.mark.parametrize(("command", "shape"), NAMED)
def test_a_path_that_leads_to_no_file(
    command: str, shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = SHAPES[shape]
    make(tmp_path / "hostile")
    more = ("--env", "sim", "--store", tmp_path / "store") if command != "check" else ("--model", "register")
    code, told = ended(capsys, *command.split(), tmp_path / "hostile", *more)
    assert code == USAGE, told
    assert "hostile" in told
    assert words in told
    assert not (tmp_path / "store").exists()


def test_check_reads_what_a_shell_writes_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(WHOLE))
    os.close(writing)
    try:
        assert ended(capsys, "check", f"/dev/fd/{reading}", "--model", "register")[0] == VALID
    finally:
        os.close(reading)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run."""
    root = tmp_path_factory.mktemp("master") / "store"
    run_into(Store(root), prepare(SPEC))
    return root


@pytest.fixture
def store(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "store", symlinks=True))


FILES = ("spec.json", "schedule.json", "verdict.json", "findings.json", "history.jsonl", "nodes/n1/trace.jsonl")
READS = {
    "inspect": {"spec.json", "verdict.json", "history.jsonl"},
    "replay": {"spec.json", "schedule.json", "history.jsonl"},
    "analyze": {"spec.json", "history.jsonl"},
}
"""Command -> the files without which it cannot do what it is for."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.long
def test_a_run_with_something_else_in_the_place_of_a_file(
    file: str, shape: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No command waits for ever, and the other files of the run are read as always."""
    run = Store(store).find("2").path
    (run / file).unlink()
    SHAPES[shape][0](run / file)
    is_missing = shape == "a link to nowhere"
    code, told = ended(capsys, "list", "--store", store)
    assert code == 0, told
    is_seen = file in told or (is_missing and file == "verdict.json" and "unfinished" in told)
    assert is_seen or (file not in ("spec.json", "verdict.json", "history.jsonl") and shape.startswith("a link")), told
    for command, reads in READS.items():
        code, told = ended(capsys, command, run, "--store", store)
        is_mended = command == "analyze" and file == "spec.json" and is_missing
        if file in reads and not is_mended and not (command == "inspect" and file == "verdict.json" and is_missing):
            assert code == USAGE, (command, told)
            assert file in told
        else:
            assert code in (VALID, UNKNOWN), (command, told)


# --- where a file is to be written ---------------------------------------------------------------------------------------

WRITES = {
    "check --report": ("check", "{whole}", "--model", "register", "--report", "{place}"),
    "report --output": ("report", "2", "--store", "{store}", "--output", "{place}"),
    "compare --picture": ("compare", "raft", "--runs", "1", "--time-limit", "0.5", "--picture", "{place}"),
    "cluster backup --to": ("cluster", "backup", "--to", "{place}"),
    "bench-bugs --write": ("bench-bugs", "--target", "raft", "--write", "{place}"),
}
"""Who writes a file that the user names, in the place of what is there. `campaign bundle` is in test_hostile_campaigns.py."""


@pytest.mark.parametrize("shape", ["a pipe", "a socket", "a folder"])
@pytest.mark.parametrize("command", WRITES)
def test_nothing_but_a_file_is_replaced(
    command: str, shape: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As root, `--report /dev/null` would take /dev/null from the whole machine."""
    (tmp_path / "whole.jsonl").write_bytes(WHOLE)
    place = tmp_path / "place"
    SHAPES[shape][0](place)
    before = place.lstat()
    names = {"whole": tmp_path / "whole.jsonl", "store": store, "place": place}
    code, told = ended(capsys, *(word.format(**names) for word in WRITES[command]))
    assert code == USAGE, told
    assert "place" in told
    assert os.path.samestat(place.lstat(), before)


@pytest.mark.parametrize("command", ["check --report", "report --output", "compare --picture"])
def test_a_link_stays_and_the_file_where_it_leads_is_written(
    command: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole.jsonl").write_bytes(WHOLE)
    (tmp_path / "below").mkdir()
    (tmp_path / "place").symlink_to(tmp_path / "below" / "page")
    names = {"whole": tmp_path / "whole.jsonl", "store": store, "place": tmp_path / "place"}
    code, told = ended(capsys, *(word.format(**names) for word in WRITES[command]))
    assert code == VALID, told
    assert (tmp_path / "place").is_symlink()
    assert (tmp_path / "below" / "page").read_bytes()


# --- schedules -----------------------------------------------------------------------------------------------------------

PARTITION = {"time_ns": 1, "f": "start-partition", "value": {"grudge": {"n1": ["n2"]}}}


def entries(*found: Any, **more: Any) -> bytes:
    """A schedule of these entries."""
    return json.dumps({"version": 1, "entries": found, **more}).encode()


SCHEDULES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "NULs": (bytes(99), "not JSON"),
    "invalid UTF-8": (b'{"version":1,"entries":["\xff"]}', "not JSON"),
    "half of it": (entries(PARTITION)[:40], "not JSON"),
    "escapes": (ESCAPES, "not JSON"),
    "brackets": (b"[" * 100_000, "nested"),
    "a deep value": (entries({**PARTITION, "value": json.loads("[" * 300 + "]" * 300)}), "nested"),
    "a list": (b"[]", "not a schedule"),
    "a number": (b"7", "not a schedule"),
    "no entries": (b'{"version":1}', "not a schedule"),
    "entries that are no list": (b'{"version":1,"entries":{}}', "not a schedule"),
    "another version": (entries(version=99), "version 99"),
    "a version in words": (entries(version="\x1b[2J" + "x" * 99_999), "version"),
    "a field that is none": (entries(colour="red"), "colour"),
    "a number for an entry": (entries(5), "entry 0"),
    "an entry without f": (entries(PARTITION, {"time_ns": 2}), "entry 1"),
    "a text for the time": (entries({**PARTITION, "time_ns": "soon"}), "entry 0"),
    "a negative time": (entries({**PARTITION, "time_ns": -1}), "negative"),
    "a time of 6,000 digits": (entries(PARTITION).replace(b'"time_ns": 1', b'"time_ns": ' + b"9" * 6000), "not JSON"),
    "times that go back": (entries({**PARTITION, "time_ns": 9}, PARTITION), "before that of the entry above"),
    "a fault that is none": (entries({"time_ns": 1, "f": "\x1b[2Jmelt"}), "melt"),
    "a list for a grudge": (entries({**PARTITION, "value": {"grudge": [1]}}), "entry 0"),
    "a node that is none": (entries({**PARTITION, "value": {"grudge": {"\x1b[2J": ["n1"]}}}), "entry 0"),
    "a huge value": (entries({"time_ns": 1, "f": "kill", "value": ["x" * 999_999]}), "entry 0"),
    "nodes that are no list": (entries(nodes=5), "nodes"),
    "a seed that is none": (entries(seed=[1]), "seed"),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_refused_with_its_rule_before_anything_begins(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = SCHEDULES[name]
    (tmp_path / "hostile.json").write_bytes(text)
    where = ("--schedule", tmp_path / "hostile.json", "--store", tmp_path / "store")
    code, told = ended(capsys, "test", "--env", "sim", "--nodes", "3", *where)
    assert code == USAGE, told
    assert "hostile.json" in told
    assert words in told
    assert not (tmp_path / "store").exists()


def test_the_whole_history_of_these_tables_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So what is refused above is refused for what was changed."""
    (tmp_path / "whole.jsonl").write_bytes(WHOLE)
    jsonl.write(tmp_path / "ours.jsonl", h("p0 invoke write 1 | p0 ok write 1"))
    for name in ("whole.jsonl", "ours.jsonl"):
        assert ended(capsys, "check", tmp_path / name, "--model", "register")[0] == VALID
    (tmp_path / "whole.json").write_bytes(entries(PARTITION))
    where = ("--schedule", tmp_path / "whole.json", "--store", tmp_path / "store", "--time-limit", "0.2")
    assert ended(capsys, "test", "--env", "sim", "--nodes", "3", *where)[0] in (VALID, UNKNOWN)


@pytest.mark.parametrize(
    "words",
    [
        ("test", "--env", "sim", "--time-limit", "1", "--schedule"),
        ("test", "--env", "sim", "--time-limit", "1", "--script"),
        ("campaign", "run"),
    ],
    ids=lambda words: words[-1],
)
def test_a_device_without_an_end_is_not_read_for_ever(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole_file, "BYTES_MAX", 5_000_000)
    code, told = ended(capsys, *words, "/dev/zero", "--store", tmp_path)
    assert code == USAGE, told
    assert "more than 5,000,000 bytes" in told
