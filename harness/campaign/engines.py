"""Where simulated runs are computed: by processes of this machine, or by the workers of a Dask scheduler on many machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import checkers
import harness
import histories
import nemesis
import targets
from harness.campaign.futures import InterruptibleExecutor
from harness.campaign.workers import worker_pool
from harness.errors import UsageError
from histories.printing import line

CONNECT_TIMEOUT_S = 10.0


@contextmanager
def engine(jobs: int, scheduler: str | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many runs it computes at once: `jobs` processes of this machine, or the workers of the Dask scheduler at
    the address `scheduler`, such as tcp://host:8786.

    A worker that is lost is no failure: what it was computing is computed elsewhere. Raises UsageError when the scheduler does not
    answer, has no workers, or has one with another themis.
    """
    if scheduler is None:
        with worker_pool(jobs) as executor:
            yield executor, jobs
        return
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "--scheduler needs the package distributed: pip install 'themis-consistency[distributed]'"
        ) from None
    try:
        client: Any = cast(Any, distributed).Client(scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError, ImportError) as error:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers there: {line(error)}") from error
    with client:
        threads = client.nthreads()
        if not threads:
            raise UsageError(
                f"--scheduler {scheduler}: it has no workers; start some: dask worker {scheduler} --nthreads 1"
            )
        check_sources(client, scheduler)
        with client.get_executor(pure=False) as executor:
            yield InterruptibleExecutor(executor), sum(threads.values())


def check_sources(client: Any, scheduler: str) -> None:
    """Raises UsageError for a worker whose themis is not this one: it could simulate other runs under the same seeds."""
    own = source_digest()
    try:
        digests = client.run(source_digest)
    except Exception as error:  # Whatever a worker raises: most likely it has no themis.
        raise UsageError(
            f"--scheduler {scheduler}: a worker cannot load themis: {type(error).__name__}: {line(error)}"
        ) from error
    if others := sorted(worker for worker, digest in digests.items() if digest != own):
        raise UsageError(
            f"--scheduler {scheduler}: the worker {others[0]} has another themis than this process "
            f"({len(others)} of {len(digests)} have): install the same version everywhere"
        )


def source_digest() -> str:
    """Of the sources of this themis: the same on two machines exactly when they have the same code."""
    total = hashlib.sha256()
    for package in (histories, checkers, nemesis, targets, harness):
        assert package.__file__ is not None
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            if "tests" not in path.relative_to(root).parts:
                total.update(f"{package.__name__}/{path.relative_to(root)}\0".encode())
                total.update(path.read_bytes())
    return total.hexdigest()
