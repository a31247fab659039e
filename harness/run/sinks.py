"""Where a run is written: into a folder of the store, or into memory. `execute` is the same for both."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from checkers import Validity
from harness.environments.base import Environment
from harness.generators import script as scripts
from harness.generators.script import Script
from harness.spec import RunSpec
from harness.store import modes, node_data
from harness.store.files import regular
from harness.store.runs import Findings, Result, RunDirectory, Store, write_atomically, write_json
from harness.store.syncing import synced_at_intervals
from harness.store.traces import read_traces, whole_span_ns
from histories import jsonl
from histories.history import History
from histories.op import Op
from histories.tracing import TraceRecord
from nemesis import schedule
from nemesis.schedule import Schedule

_log = logging.getLogger("themis")


class TracesRemoved(Exception):
    """Part of the traces was removed (harness.run.live_traces): they cannot be checked again."""


class Record(Protocol):
    """What a run left, for its checkers."""

    def history(self) -> History:
        """Every op that was recorded. Raises MalformedHistory or OSError when it cannot be read."""
        ...

    def traces(self) -> Iterable[TraceRecord] | None:
        """What the nodes traced, in order of time; None where the run keeps no traces, because the rules check them while it goes
        on. Raises TracesRemoved."""
        ...


class Sink(Record, Protocol):
    """Takes what a run produces. Used once; `execute` calls the members in their order here."""

    run_id: str
    """Labels everything that the run makes outside its folder."""
    directory: Path
    """The run's folder; nodes' files stand below nodes/<n>/. Nothing is written there unless `keeps_files`."""
    is_watched: bool
    """Somebody looks on: the state of the run is shown while it goes on."""
    keeps_files: bool
    """Logs and traces of the nodes are collected; what can only be looked at, such as availability, is measured."""

    def discard(self) -> None:
        """The run was refused before it began: remove all that is left of it."""
        ...

    def opened(self, environment: Environment, faults: Schedule) -> AbstractContextManager[None]:
        """The run begins: inside, the harness's log is kept with the run. Raises UsageError, and discards the run, when it cannot
        be written."""
        ...

    def recording(self) -> AbstractContextManager[Callable[[Op], None]]:
        """Takes each op as it happens. After it, the history is whole."""
        ...

    def note_findings(self, findings: Findings) -> None:
        """Keep what only the live run could see: a second check needs it. Called before the check."""
        ...

    def keep(self, result: Result) -> None:
        """Keep the run's result. Called last."""
        ...


class FolderSink:
    """Implements Sink by a folder of the store. The links `current` and `latest` move once the run really exists."""

    keeps_files = True

    def __init__(
        self,
        store: Store,
        run: RunDirectory,
        *,
        script: Script | None = None,
        keep_data: bool = False,
        is_watched: bool = True,
    ) -> None:
        self.is_watched = is_watched
        self.run = run
        self._script = script
        self._is_virtual = False
        self._keep_data = keep_data
        self.directory = run.path
        self.run_id = run.run_id
        self._store = store

    @classmethod
    def create(
        cls,
        store: Store,
        spec: RunSpec,
        folder: str,
        *,
        script: Script | None = None,
        keep_data: bool = False,
        is_watched: bool = True,
    ) -> FolderSink:
        """A new folder below store/`folder`. script: what the clients do, to be kept with the run. keep_data: the nodes' data
        directories are kept whatever the verdict is. is_watched: see Sink.

        Raises UsageError when the store cannot be written.
        """
        return cls(store, store.create(spec, folder), script=script, keep_data=keep_data, is_watched=is_watched)

    def discard(self) -> None:
        self._store.remove(self.run)

    @contextmanager
    def opened(self, environment: Environment, faults: Schedule) -> Iterator[None]:
        self._is_virtual = environment.is_virtual
        with contextlib.ExitStack() as stack:
            try:
                write_atomically(self.run.schedule, schedule.encode(faults))
                if self._script is not None:
                    write_atomically(self.run.script, scripts.encode(self._script))
                stack.enter_context(logging_to(self.run.log))
                self._store.point("current", self.run)
            except OSError as error:
                stack.close()
                self.discard()
                raise self._store.unwritable(error) from error
            yield

    @contextmanager
    def recording(self) -> Iterator[Callable[[Op], None]]:
        # The spec a second time: a history can be checked again although spec.json is damaged.
        about = {"run": self.run_id, "spec": self.run.read_spec()}
        with jsonl.Writer(self.run.history, about, is_durable=True) as writer:
            self._store.point("latest", self.run)  # Now: a kill -9 leaves a history that can be analyzed.
            # A simulated run can be had again from its seed.
            with nullcontext() if self._is_virtual else synced_at_intervals(writer.sync):
                yield writer.append
            writer.sync()  # Before the verdict on it is.

    def history(self) -> History:
        return jsonl.read(regular(self.run.history)).history

    def traces(self) -> Iterable[TraceRecord]:
        if whole_span_ns(self.run.nodes) is not None:
            raise TracesRemoved(
                "the run ended before all its traces were checked, and those of its beginning had been removed as it went on"
            )
        return read_traces(self.run.nodes)

    def note_findings(self, findings: Findings) -> None:
        write_json(self.run.findings, findings)

    def keep(self, result: Result) -> None:
        self._store.point("latest", self.run)
        is_good = result.verdict.validity is Validity.VALID and not result.harness
        try:
            node_data.settle(self.run.nodes, is_kept=self._keep_data or not is_good)
            modes.settle(self.run.path)
        finally:
            write_json(self.run.verdict, result)
            self.run.release()


class MemorySink:
    """Implements Sink without a file: for many runs in one process.

    environment: the environment that ran; a caller can look into its simulated world afterwards. faults: the schedule that it ran.
    """

    is_watched = False
    keeps_files = False

    def __init__(self, run_id: str, directory: Path = Path()) -> None:
        self.run_id = run_id
        self.directory = directory
        self.environment: Environment | None = None
        self.faults: Schedule | None = None
        self._ops: list[Op] = []

    def discard(self) -> None:
        pass

    @contextmanager
    def opened(self, environment: Environment, faults: Schedule) -> Iterator[None]:
        self.environment, self.faults = environment, faults
        yield

    @contextmanager
    def recording(self) -> Iterator[Callable[[Op], None]]:
        yield self._ops.append

    def history(self) -> History:
        return History(self._ops)

    def traces(self) -> None:
        return None

    def note_findings(self, findings: Findings) -> None:
        pass

    def keep(self, result: Result) -> None:
        """Keep nothing: `execute` returns the result."""


class LogFile(logging.FileHandler):
    """A log that is cut short where the disk refuses it: that never ends a run, and nothing of it reaches the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The harness's log goes to `path`, with times in UTC."""
    handler = LogFile(path, encoding="utf-8", errors="backslashreplace")
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    form.converter = time.gmtime
    handler.setFormatter(form)
    level = _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()
