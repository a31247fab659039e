"""Keeps the failing seeds of a sweep in the store, as folders like those of any other run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.report.page.due import write_due
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import FolderSink
from harness.spec import RunSpec
from harness.store.modes import created_by
from harness.store.runs import Result, Store


class Keeping(msgspec.Struct, frozen=True):
    """Where a sweep keeps failing seeds, and how many at most. Goes to the sweep's processes, each of which writes its own.

    store: the folder of runs. at_most: folders in all. is_shared: others on this machine may read them. keep_data: with the nodes'
    data directories.
    """

    store: Path
    at_most: int
    is_shared: bool = False
    keep_data: bool = False


class Kept(msgspec.Struct, frozen=True):
    """run: the folder; "" when it could not be written. problem: what went wrong with it; "" when nothing did."""

    run: str = ""
    problem: str = ""


def keep_seed(keeping: Keeping, spec: RunSpec, result: Result) -> Kept:
    """Simulate the seed of `spec` once more, into a new folder of the store. result: how it ended in memory.

    Nothing is left when the run is cut off by a signal. Raises UsageError when the store cannot be written, and HarnessError when
    the second run ends otherwise than the first.
    """
    store = Store(keeping.store, is_shared=keeping.is_shared)
    prepared = plan.prepare(spec)
    with created_by(is_shared=keeping.is_shared):
        sink = FolderSink.create(store, spec, prepared.folder, keep_data=keeping.keep_data, is_watched=False)
        try:
            again = execute(prepared, sink)
        except BaseException:
            store.remove(sink.run)
            raise
        problem = write_due(sink.run, again)
    if again.harness and not result.harness:
        return Kept(str(sink.run.path), f"{again.harness[0].phase}: {again.harness[0].error}")
    if again.verdict.validity is not result.verdict.validity:
        raise HarnessError(
            f"{sink.run.path}: {again.verdict.validity.name} when it was kept, and {result.verdict.validity.name} in memory; "
            "the same seed must give the same run: please report it"
        )
    return Kept(str(sink.run.path), problem)
