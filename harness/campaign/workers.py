"""Worker processes of a sweep that never outlive it, however it ends.

Each worker holds the reading end of a pipe whose writing end only the sweeping process has. The kernel closes that end when the
process ends, by a `kill -9` too; the worker sees it and ends at once, whatever it is doing. Then nobody holds multiprocessing's
resource tracker, which removes the pool's semaphores from shared memory and ends as well.

If everything is killed at once, the tracker too, the semaphores stay. Their names say whose they were, so that `themis cleanup`
finds them (harness.environments.shared_memory); and the workers carry the label of every process of a run.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from harness.campaign.futures import interruptible
from harness.environments import shared_memory
from harness.environments.real import labelled_processes
from harness.run.interruption import SIGNALS, interrupts_waiting

_STATUS = 70
"""Exit status of a worker whose sweep is gone; nobody reads it."""


@contextmanager
def worker_pool(jobs: int) -> Iterator[Executor]:
    """`jobs` processes, spawned and not forked: a worker owes nothing to this process, not even its hash seed.

    On the way out, whatever the reason, no worker is left: one that is within a task is ended there.
    """
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    others = set(multiprocessing.active_children())
    with labelled(), shared_memory.named_semaphores():
        # What removes the semaphores is there before them: it cannot be had where no more files may be open. It inherits that
        # signals wait, and keeps it for SIGHUP: a closed terminal, which reaches every process of it, would end the tracker.
        with signals_waiting():
            resource_tracker.ensure_running()
        executor = _Pool(jobs, mp_context=context, initializer=_begin, initargs=(watched,))
    try:
        for _ in range(jobs):
            executor.submit(os.getpid)  # So that most processes start before the first task.
        yield executor
    except BaseException:
        with interrupts_waiting():
            held.close()  # Ends the workers, so that nothing is waited for.
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # One that is still being started does not know of that yet.
            executor.shutdown(wait=True, cancel_futures=True)
        raise
    else:
        executor.shutdown(wait=True, cancel_futures=True)
    finally:
        held.close()
        watched.close()


class _Pool(ProcessPoolExecutor):
    """Starts a process whenever a task finds none idle, with our labels, and is not interrupted on the way; nor are its futures."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with labelled(), signals_waiting():
            return interruptible(super().submit(fn, *args, **kwargs))


@contextmanager
def signals_waiting() -> Iterator[None]:
    """Signals that come inside wait until the end: in the midst of starting a worker they would leave it half told what to do.

    A worker that is started inside inherits that they wait, until it knows what to do with them. In this process it is not
    enough that this thread blocks them: the kernel gives a signal to any thread that does not (NumPy has some), and Python
    runs the handler in the main thread all the same. So what the handler raises waits as well.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with interrupts_waiting():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def labelled() -> Iterator[None]:
    """Processes that are started inside carry the label of a sweep of this process, as those of any run carry theirs."""
    labels = labelled_processes.labels(f"sweep-{os.getpid()}")
    before = {name: os.environ.get(name) for name in labels}
    os.environ.update(labels)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(watched: Connection) -> None:
    """In the worker: it lives as long as the sweep, and no longer."""
    # Ctrl-C in a terminal and a closed terminal reach every process of the group; what they mean, the sweep decides.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_await_end, args=(watched,), name="sweep-ended", daemon=True).start()
    freeze_imports()


def _await_end(watched: Connection) -> None:
    try:
        watched.recv_bytes()
    except (EOFError, OSError):
        os._exit(_STATUS)


def freeze_imports() -> None:
    """Imported objects live as long as the process: the garbage collector no longer looks at them."""
    gc.collect()
    gc.freeze()
