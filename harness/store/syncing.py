"""Makes a file that grows durable again and again, so that a power loss takes its last second and no more.

The writer never waits for the disk: a thread syncs. What the disk refuses is told when the writing ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERVAL_S = 1.0
"""A run in a real environment takes seconds at least. What a second of it told is worth less than an op that waits for the disk."""


@contextmanager
def synced_at_intervals(sync: Callable[[], None], interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Inside, `sync` is called every `interval_s`, by a thread of its own; after it no call is under way.

    Raises the OSError of the first call that failed, unless the body raised; there is no call after that one.
    """
    is_over = threading.Event()
    refused: list[OSError] = []

    def work() -> None:
        while not is_over.wait(interval_s):
            try:
                sync()
            except OSError as error:
                refused.append(error)
                return

    thread = threading.Thread(target=work, name="history-sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if refused:
        raise refused[0]
