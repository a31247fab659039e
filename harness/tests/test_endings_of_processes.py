"""How the command ends as a process: closed pipes, full disks, signals at any moment, a worker that is killed."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from harness.cli import run_command
from harness.environments.real import labelled_processes
from harness.errors import HARNESS, INVALID, VALID
from harness.store.runs import Store
from histories import jsonl
from histories.builder import h

THEMIS = (sys.executable, "-m", "harness")
SIM = ("test", "--env", "sim", "--nodes", "3", "--time-limit", "2", "--seed", "3", "--nemesis", "partition")
PATIENCE_S = 90


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that is VALID, and one, the latest, that is not."""
    root = tmp_path_factory.mktemp("endings") / "store"
    assert run_command([*SIM, "--name", "good", "--store", str(root)]) == VALID
    assert run_command([*SIM, "--name", "bad", "--bug", "stale-read", "--store", str(root)]) == INVALID
    return root


def shell(line: str, *words: str | Path) -> tuple[int, str]:
    """The exit code that the last line of a shell's output tells, and what else it printed."""
    command = shlex.join([*THEMIS, *map(str, words)])
    ended = subprocess.run(
        ["bash", "-c", line.replace("THEMIS", command)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    *told, code = (ended.stdout + ended.stderr).replace("\0", "").split("=>")
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    assert "Exception ignored" not in ended.stderr, ended.stderr
    return int(code.split()[0]), "".join(told) + ended.stderr


LOSSES = {
    "a closed pipe": 'THEMIS | true; echo "=>${PIPESTATUS[0]}"',
    "both into a closed pipe": 'THEMIS 2>&1 | true; echo "=>${PIPESTATUS[0]}"',
    "a full disk": 'THEMIS > /dev/full; echo "=>$?"',
    "both on a full disk": 'THEMIS > /dev/full 2>&1; echo "=>$?"',
    "a closed descriptor": 'THEMIS >&-; echo "=>$?"',
    "all closed": 'THEMIS <&- >&- 2>&-; echo "=>$?"',
}
"""How nobody gets what is printed."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.long
@pytest.mark.real
def test_a_verdict_has_its_own_code_whoever_reads_it(loss: str, store: Path) -> None:
    bad = store / "bad" / "latest" / "history.jsonl"
    code, told = shell(LOSSES[loss], "check", bad, "--model", "cas-register")
    assert code == INVALID, told
    assert len(told.splitlines()) <= 1, told


@pytest.mark.parametrize(
    ("words", "loss", "expected"),
    [
        (("list", "--store", "{store}"), "a closed pipe", VALID),
        (("list", "--store", "{store}"), "a full disk", HARNESS),
        (("inspect", "{store}/bad/latest", "--json"), "a closed pipe", VALID),
        (("inspect", "{store}/bad/latest", "--json"), "a full disk", HARNESS),
        (("analyze", "{store}/bad/latest"), "both on a full disk", INVALID),
        (("analyze", "{store}/good/latest"), "a full disk", VALID),
        ((*SIM, "--bug", "stale-read", "--store", "{store}/../again"), "both into a closed pipe", INVALID),
        (("replay", "{store}/good/latest"), "a closed descriptor", VALID),
        (("list", "--no-such-flag"), "both into a closed pipe", 254),
    ],
    ids=lambda value: None if isinstance(value, int) else value if isinstance(value, str) else value[0],
)
@pytest.mark.long
@pytest.mark.real
def test_other_commands_whose_text_is_lost(words: Sequence[str], loss: str, expected: int, store: Path) -> None:
    code, told = shell(LOSSES[loss], *(word.replace("{store}", str(store)) for word in words))
    assert code == expected, told


def test_a_descriptor_that_was_closed_is_not_written_into_a_history(tmp_path: Path) -> None:
    code, told = shell(LOSSES["all closed"], *SIM, "--store", tmp_path)
    assert code == VALID, told
    assert jsonl.read(tmp_path / "latest" / "history.jsonl").history.select("ok", "read")


def limited(bytes_max: int) -> None:
    """No file grows beyond this; writing more fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))


@pytest.mark.parametrize(
    ("bug", "bytes_max", "expected"), [((), 300, 254), ((), 8_000, HARNESS), (("--bug", "stale-read"), 60_000, INVALID)]
)
@pytest.mark.long
@pytest.mark.real
def test_a_disk_that_takes_no_more(bug: tuple[str, ...], bytes_max: int, expected: int, tmp_path: Path) -> None:
    """The largest files of the run stop at so many bytes: the spec, the history, or only the verdict."""
    ended = subprocess.run(
        [*THEMIS, *SIM, *bug, "--store", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=lambda: limited(bytes_max),
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == expected, told
    assert "Traceback" not in told
    assert (tmp_path / "store").exists() == (expected != 254)


def test_a_sweep_that_may_open_no_more_files_leaves_no_semaphore(tmp_path: Path) -> None:
    """The first one is there when the process that removes them cannot be started."""
    words = ("test", "--env", "sim", "--nodes", "3", "--time-limit", "1", "--seeds", "1..4", "--jobs", "2")
    with started(*words, store=tmp_path, files_max=12) as command:
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == HARNESS, output + errors
    assert "Too many open files" in errors
    assert "Traceback" not in output + errors
    assert not list(Path("/dev/shm").glob(f"sem.themis-{command.pid}-*"))


@pytest.mark.linux
@pytest.mark.parametrize(("bug", "size_kb", "expected"), [((), 40, HARNESS), (("--bug", "stale-read"), 120, INVALID)])
def test_a_small_file_system_that_is_full(bug: tuple[str, ...], size_kb: int, expected: int, tmp_path: Path) -> None:
    """In a mount namespace of its own, which ends with the command."""
    command = shlex.join([*THEMIS, *SIM, *bug, "--time-limit", "5", "--store", str(tmp_path / "store")])
    script = f"mount -t tmpfs -o size={size_kb}k none {shlex.quote(str(tmp_path))} && {command}"
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == expected, told
    assert "No space left" in told
    assert "Traceback" not in told


@contextlib.contextmanager
def started(
    *words: str, store: Path, python: Sequence[str] = ("-m", "harness"), files_max: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The command, which is ended on the way out. files_max: that it may have open."""
    command = subprocess.Popen(
        [sys.executable, *python, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=store,
        start_new_session=True,
        preexec_fn=None
        if files_max is None
        else partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files_max, files_max)),
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.kill()
        command.communicate()


def test_a_killed_worker_ends_the_sweep_with_255_and_one_line(tmp_path: Path) -> None:
    sweep = ("test", "--env", "sim", "--nodes", "3", "--time-limit", "3", "--jobs", "2", "--seeds", "1..100000")
    with started(*sweep, store=tmp_path) as command:
        deadline = time.monotonic() + PATIENCE_S
        while len(workers := labelled_processes.labelled(f"sweep-{command.pid}")) < 2:
            assert time.monotonic() < deadline, "no worker"
            time.sleep(0.05)
        os.kill(workers[-1].pid, signal.SIGKILL)
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == HARNESS, output + errors
    assert "a worker of the sweep was killed" in errors
    assert "ended early" in output
    assert "Traceback" not in output + errors


def test_the_console_script_takes_the_signals_before_it_imports_anything_that_takes_long() -> None:
    """Until then a signal is Python's own, which answers with a traceback."""
    program = "import sys; before = {*sys.modules}; import harness.__main__; print(*sorted({*sys.modules} - before))"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert told.stdout.split() == ["harness", "harness.__main__"]


BEGUN = """
import signal, harness.__main__ as entry
signal.signal(signal.SIGINT, entry._leave)
print("begun", flush=True)
entry.main()
"""
"""The console script, which says when Python itself has started: a signal before that Python answers as it likes."""


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 0.6])
def test_a_signal_at_any_moment_of_the_start_shows_no_traceback(delay_s: float, tmp_path: Path) -> None:
    """The moments are those of a machine that is not busy; on one that is, they are others, which must do as well."""
    words = (*SIM, "--time-limit", "600", "--rate", "1000", "--store", "store")
    with started(*words, store=tmp_path, python=("-c", BEGUN)) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "begun\n"
        time.sleep(delay_s)
        command.send_signal(signal.SIGINT)
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130, output + errors
    assert "Traceback" not in output + errors
    assert Store(tmp_path / "store").dangling_links() == []


LOSES_A_SIGNAL = """
import os, signal, time
class Removed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)  # The handler runs in here.
def check(history, context):
    Removed()
    while True:
        time.sleep(0.1)
"""


def test_a_signal_that_comes_where_an_object_is_removed_ends_the_command(tmp_path: Path) -> None:
    """Python drops what is raised there."""
    jsonl.write(tmp_path / "history.jsonl", h("p0 invoke write 1 | p0 ok write 1"))
    (tmp_path / "removing.py").write_text(LOSES_A_SIGNAL)
    with started("check", "history.jsonl", "--checker", "removing:check", store=tmp_path) as command:
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 128 + signal.SIGTERM, output + errors
    assert "Traceback" not in output + errors
    assert "Exception ignored" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_would_take_for_ever_ends_at_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    jsonl.write(tmp_path / "history.jsonl", h("p0 invoke write 1 | p0 ok write 1"))
    (tmp_path / "slow.py").write_text(
        # Python sleeps on where a signal comes right before its sleep begins.
        "import time\ndef check(history, context):\n    print('begun', flush=True)\n    while True:\n        time.sleep(0.1)\n"
    )
    with started("check", "history.jsonl", "--checker", "slow:check", store=tmp_path) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "begun\n"
        command.send_signal(number)
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 128 + number, output + errors
    assert errors == f"themis: interrupted by {number.name}\n"
