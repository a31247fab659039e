"""Where results are kept, one folder a run: store/<name>/<time>/.

In it: spec.json, schedule.json, script.json where the clients did a script, history.jsonl, findings.json, verdict.json, themis.log,
nodes/<n>/. verdict.json says that the run is finished. It is written last and atomically, so that a reader never sees half of it.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from checkers import Verdict
from harness.errors import UsageError
from harness.generators import script as scripts
from harness.generators.script import Script
from harness.spec import RunSpec, UnreadableSpec, decode_spec
from harness.store.files import regular, whole
from harness.store.modes import PRIVATE, SHARED, file_mode
from harness.store.traces import directories, files_of
from histories.json_text import FILE_DEPTH_MAX, decoded
from nemesis.schedule import BadSchedule, Schedule
from nemesis.schedule import load as load_schedule

TIME_FORMAT = "%Y%m%dT%H%M%S"


def write_atomically(path: Path, content: bytes) -> None:
    """`path` holds `content`, or what it held before: never a part, whenever the power fails. Durable when this returns."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), file_mode(path.parent))
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """The names in the folder are durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


class HarnessFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One failure of the harness, which says nothing about the system under test: where, and what was raised."""

    phase: str
    error: str
    traceback: str = ""


RESULT_VERSION = 2
"""Of verdict.json: 2 has typed evidence (checkers/evidence)."""


class Result(msgspec.Struct, frozen=True):
    """The content of verdict.json: what the checkers said, beside what went wrong in the harness itself.

    version: of this file's format; always written. verdict: merged over all checkers. claim: the consistency model that
    the history was checked for. target_claims: the one that the target claims. interrupted: the run was ended
    early. signal: the signal that ended it, or the checks, such as SIGINT; "" for none. harness: failures of the harness; they
    never replace the verdict.
    """

    verdict: Verdict
    version: int = RESULT_VERSION
    run_id: str = ""
    claim: str = ""
    target_claims: str = ""
    interrupted: bool = False
    signal: str = ""
    harness: tuple[HarnessFailure, ...] = ()
    counts: dict[str, int] = {}


class Findings(msgspec.Struct, frozen=True):
    """The content of findings.json: what only the live run could see, such as nodes that ended, for a later check.

    interrupted: the run was ended early.
    """

    verdicts: dict[str, Verdict]
    interrupted: bool


class UnusableResult(UsageError):
    """A verdict.json that cannot be read, and that `themis analyze` can write anew."""


class NewerResult(UsageError):
    """A verdict.json of a newer themis."""


class _Versioned(msgspec.Struct):
    """The version of a verdict.json; files of version 1 do not say theirs."""

    version: int = 1


class RunDirectory:
    """One run's folder and the names of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    spec = property(lambda self: self.path / "spec.json")
    schedule = property(lambda self: self.path / "schedule.json")
    script = property(lambda self: self.path / "script.json")
    history = property(lambda self: self.path / "history.jsonl")
    findings = property(lambda self: self.path / "findings.json")
    verdict = property(lambda self: self.path / "verdict.json")
    log = property(lambda self: self.path / "themis.log")
    nodes = property(lambda self: self.path / "nodes")

    @property
    def run_id(self) -> str:
        """The label of everything that the run makes outside its folder; runs in different stores never share one."""
        place = hashlib.blake2s(os.fsencode(self.path.resolve().parent), digest_size=3).hexdigest()
        return f"{self.path.parent.name}-{self.path.name}-{place}"

    def hold(self) -> None:
        """Until `release`, and while this process lives, other processes see that the run is in use. Idempotent."""
        if self._held is None:
            self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._held, fcntl.LOCK_SH)

    def release(self) -> None:
        """This object no longer holds the run. Idempotent."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def is_held(self) -> bool:
        """Whether a living process holds the run, this one included."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def read_spec(self) -> RunSpec:
        """The run's spec. Raises UsageError when this is no run folder or its spec is of another version."""
        try:
            return decode_spec(whole(self.spec).read_bytes(), str(self.spec))
        except FileNotFoundError:
            if self.history.exists():
                raise UnreadableSpec(f"{self.spec}: missing; `themis analyze {self.path}` writes it anew") from None
            raise UsageError(f"{self.path}: no run is here (spec.json is missing)") from None
        except OSError as error:
            raise UsageError(f"{self.spec}: {error.strerror or error}") from error

    def mend_spec(self) -> str | None:
        """Where spec.json is damaged or missing, write it anew from the history's header, which has it too; what was wrong, or
        None.

        Raises UsageError when the header has none.
        """
        try:
            self.read_spec()
            return None
        except UnreadableSpec as error:
            why = str(error)
        try:
            with regular(self.history).open("rb") as file:
                header = decoded(msgspec.json.decode, file.readline(HEADER_BYTES_MAX), FILE_DEPTH_MAX)
            content = msgspec.json.encode(header["spec"])
            decode_spec(content, f"{self.history} line 1, spec")
        except (OSError, msgspec.DecodeError, KeyError, TypeError, UnreadableSpec):
            raise UsageError(
                f"{why}; the history's header has no copy to write it anew from. "
                f"`themis check {self.history} --model NAME` checks the history alone"
            ) from None
        if self.spec.exists():
            self.spec.replace(self.spec.with_name(f"{self.spec.name}.damaged"))
        write_atomically(self.spec, msgspec.json.format(content, indent=2) + b"\n")
        return f"{why}; written anew from the header of {self.history.name}"

    def damages(self) -> list[str]:
        """What is wrong with the files of the run, as far as can be seen without reading all of a history: one sentence a file."""
        found = []
        for read in (self.read_spec, self.read_result):
            try:
                read()
            except UsageError as error:
                found.append(str(error))
        if self.is_damaged(self.schedule):
            found.append(f"{self.schedule}: not a JSON object")
        if self.findings.exists() and self.read_findings() is None:
            found.append(f"{self.findings}: cannot be read")
        if self.history.exists():
            found += _damage_of_lines(self.history, "the first line is no header")
        elif self.verdict.exists():
            found.append(f"{self.history}: missing")
        for directory in directories(self.nodes):
            for trace in files_of(directory):
                found += _damage_of_lines(trace, "the first line is no record")
        return found

    def read_schedule(self) -> Schedule:
        """The faults that were saved with the run, for its own nodes.

        Raises FileNotFoundError when there is no file; BadSchedule when it is damaged or cannot be read; UsageError as `read_spec`.
        """
        nodes = self.read_spec().nodes
        try:
            return load_schedule(whole(self.schedule), nodes)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BadSchedule(str(self.schedule), None, error.strerror or str(error)) from error

    def read_script(self, concurrency: int) -> Script:
        """What that many clients were told to do. Raises UsageError when it cannot be read."""
        try:
            return scripts.load(whole(self.script), concurrency)
        except OSError as error:
            raise UsageError(f"{self.script}: {error.strerror or error}") from error

    def read_findings(self) -> Findings | None:
        """What only the live run could see; None when it was not kept, or cannot be read."""
        try:
            return decoded(msgspec.json.Decoder(Findings).decode, whole(self.findings).read_bytes(), FILE_DEPTH_MAX)
        except (OSError, msgspec.DecodeError):
            return None

    def is_damaged(self, path: Path) -> bool:
        """Whether this file of the run, which should hold a JSON object, does not; one that is missing or not ours to read may."""
        try:
            return not isinstance(decoded(msgspec.json.decode, whole(path).read_bytes(), FILE_DEPTH_MAX), dict)
        except (FileNotFoundError, PermissionError):
            return False
        except (OSError, msgspec.DecodeError):
            return True

    def read_result(self) -> Result | None:
        """The run's result; None while it runs or when it was cut off.

        Raises UnusableResult when the file is damaged or of an older version, NewerResult when it is of a newer one.
        """
        try:
            content = whole(self.verdict).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnusableResult(f"{self.verdict}: {error.strerror or error}") from error
        anew = f"`themis analyze {self.path}` writes it anew"
        try:
            version = decoded(msgspec.json.Decoder(_Versioned).decode, content, FILE_DEPTH_MAX).version
            if version > RESULT_VERSION:
                raise NewerResult(
                    f"{self.verdict}: of version {version}, and this themis reads version {RESULT_VERSION}: "
                    "use the themis that wrote it, or a newer one"
                )
            if version < RESULT_VERSION:
                raise UnusableResult(f"{self.verdict}: of the older version {version}; {anew}")
            return decoded(msgspec.json.Decoder(Result).decode, content, FILE_DEPTH_MAX)
        except msgspec.DecodeError as error:
            raise UnusableResult(f"{self.verdict}: {error}; {anew}") from error


HEADER_BYTES_MAX = 1 << 24
"""Of the first line of a history: a spec and little else."""


def _damage_of_lines(path: Path, first_is: str) -> list[str]:
    """What is wrong with the first line, or with the last whole one, of a file of JSON objects."""
    try:
        with regular(path).open("rb") as file:
            first = file.readline(HEADER_BYTES_MAX)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - HEADER_BYTES_MAX))
            last_lines = file.read().rpartition(b"\n")[0]
    except OSError as error:
        return [f"{path}: {error.strerror or error}"]
    found = []
    is_ended = first.endswith(b"\n") or len(first) == HEADER_BYTES_MAX
    if not _is_object(first) and (is_ended or path.name == "history.jsonl"):
        found.append(f"{path}: {first_is}")
    if not found and last_lines and not _is_object(last_lines.rpartition(b"\n")[2]):
        found.append(f"{path}: the last line is damaged")
    return found


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(decoded(msgspec.json.decode, line, FILE_DEPTH_MAX), dict)
    except msgspec.DecodeError:
        return False


def _link(link: Path, run: Path) -> None:
    """`link` leads to `run`; replaced atomically, and durable."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(run.resolve(), link.parent.resolve()))
    os.replace(temporary, link)
    sync_directory(link.parent)


LINKS = ("latest", "current")
"""Of the store, and of each name in it: the last run that has a history, and the last one that began."""


def _is_run(path: Path) -> bool:
    """Whether the folder is a run's; one whose spec was lost is one too."""
    try:
        return (path / "spec.json").is_file() or (path / "history.jsonl").is_file()
    except OSError:  # Somebody else's folder.
        return False


def _runs_below(directory: Path, pattern: str) -> list[Path]:
    """The runs' folders; links to them are left out."""
    places = (path for path in directory.glob(pattern) if not path.is_symlink() and not path.parent.is_symlink())
    return [path for path in places if _is_run(path)]


class Store:
    """A folder of runs. is_shared: others on this machine may read the runs that it creates."""

    def __init__(self, root: Path, *, is_shared: bool = False) -> None:
        self.root = root
        self.is_shared = is_shared
        self._made: list[Path] = []
        """Folders above a run that this object has made."""

    def check(self) -> None:
        """Raises UsageError when no run could be created here, before anything is done that takes long; nothing is made."""
        place = next(path for path in (self.root.absolute(), *self.root.absolute().parents) if path.exists())
        if not place.is_dir():
            raise self.unwritable(NotADirectoryError(errno.ENOTDIR, f"{place} is no folder"))
        if not os.access(place, os.W_OK | os.X_OK):
            raise self.unwritable(PermissionError(errno.EACCES, f"{place} may not be written"))

    def create(self, spec: RunSpec, folder: str) -> RunDirectory:
        """A new folder below store/`folder` for a run of `spec`, with the spec in it; held. No link leads to it yet.

        Raises UsageError when it cannot be written; then nothing is left of it.
        """
        run: RunDirectory | None = None
        try:
            run = RunDirectory(self._new_folder(self.root / folder).resolve())
            run.hold()
            run.nodes.mkdir(self._mode)
            run.nodes.chmod(self._mode)
            write_json(run.spec, spec)
            for directory in (run.path.parent, self.root.resolve()):
                sync_directory(directory)
            if self.root in self._made:  # Where the store was there, its folder may be one that nobody may list.
                sync_directory(self.root.resolve().parent)
        except OSError as error:
            if run is not None:
                self.remove(run)
            self._remove_made()
            raise self.unwritable(error) from error
        except BaseException:
            if run is not None:
                self.remove(run)
            raise
        return run

    @property
    def _mode(self) -> int:
        return SHARED if self.is_shared else PRIVATE

    def unwritable(self, error: OSError) -> UsageError:
        """What to say when the store cannot be written."""
        return UsageError(
            f"the store {self.root} cannot be written: {error.strerror or error}; choose another with --store DIR"
        )

    def _new_folder(self, parent: Path) -> Path:
        now = datetime.datetime.now(datetime.UTC)
        for tick in range(1000):
            self._make(parent)
            path = parent / f"{now.strftime(TIME_FORMAT)}.{(now.microsecond // 1000 + tick) % 1000:03d}Z"
            try:
                path.mkdir(self._mode)
            except (
                FileExistsError,
                FileNotFoundError,
            ):  # Another run has the name, or has just removed the empty parent.
                continue
            path.chmod(self._mode)  # Whatever the umask is.
            return path
        raise UsageError(f"{parent}: a thousand runs in one second; choose another --store")

    def _make(self, folder: Path) -> None:
        """The folder is there; with is_shared others may come through it, where it is ours."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):  # Another run made it at the same time.
                path.mkdir(self._mode)
                path.chmod(self._mode)
                self._made.append(path)
        if self.is_shared:
            for path in (folder, folder.parent):
                if path.stat().st_uid == os.geteuid():
                    path.chmod(path.stat().st_mode | 0o055)

    def _remove_made(self) -> None:
        """Remove the folders above a run that this object made, as far as they are empty."""
        while self._made:
            with contextlib.suppress(OSError):
                self._made[-1].rmdir()
            self._made.pop()

    def remove(self, run: RunDirectory) -> None:
        """Remove the run's folder, and the folders above it that were made for it, as far as the disk allows."""
        run.release()
        shutil.rmtree(run.path, ignore_errors=True)
        self.remove_empty(run)
        self._remove_made()

    def remove_empty(self, run: RunDirectory) -> None:
        """Remove the folder of the run's name when the run is gone and no other is in it."""
        self.mend_links(run.path.parent)
        with contextlib.suppress(OSError):  # Other runs of this name are in it.
            run.path.parent.rmdir()

    def point(self, link: str, run: RunDirectory) -> None:
        """store/`link` and store/<name>/`link` lead to `run`; replaced atomically."""
        for directory in (self.root, run.path.parent):
            _link(directory / link, run.path)

    def dangling_links(self, directory: Path | None = None) -> list[Path]:
        """The links `latest` and `current` that lead nowhere, of one directory or of the whole store."""
        places = [directory] if directory else [self.root, *filter(Path.is_dir, self.root.glob("*"))]
        links = [place / link for place in places for link in LINKS if not place.is_symlink()]
        return [link for link in links if link.is_symlink() and not link.exists()]

    def mend_links(self, directory: Path | None = None) -> None:
        """Let each link that led nowhere lead to the newest run that is there, or remove it when there is none."""
        for link in self.dangling_links(directory):
            runs = _runs_below(link.parent, "*/*" if link.parent == self.root else "*")
            if runs:
                _link(link, max(runs, key=lambda path: path.name))
            else:
                link.unlink(missing_ok=True)

    def runs(self) -> Iterator[RunDirectory]:
        """Every run, oldest first within each name."""
        if not self.root.is_dir():
            return
        yield from map(RunDirectory, sorted(_runs_below(self.root, "*/*")))

    def find(self, text: str) -> RunDirectory:
        """The run called `text`: a path, a path below the store, a time, or `latest` or `current`.

        Raises UsageError when there is none, or more than one.
        """
        for candidate in (Path(text), self.root / text):
            if _is_run(candidate):
                return RunDirectory(candidate.resolve())
        matching = [run for run in self.runs() if run.path.name.startswith(text)] if text else []
        if len(matching) == 1:
            return RunDirectory(matching[0].path.resolve())
        if matching:
            raise UsageError(f"{text!r} fits {len(matching)} runs in {self.root}; `themis list` shows them")
        raise UsageError(f"no run {text!r} in {self.root}; `themis list` shows what there is")
