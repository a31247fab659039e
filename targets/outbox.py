"""Performs a core's effects as far as its disk allows: an EffectQueue with a disk that has a thread of its own.

Group commit: while one sync runs in the thread, stepping goes on; all records that came in meanwhile share the next sync.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Thread

import msgspec

from targets.core import CancelTimer, Effect, Halt, Persist, Reply, Send, SetTimer, Trace
from targets.effect_queue import EffectQueue


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A Send that is the HTTP response to the exchange with this number."""

    exchange: int
    message: msgspec.Struct


Performed = Send | Reply | Answer | Trace | Halt


class Outbox:
    """The effects that are not performed yet. Belongs to one event loop.

    append: writes encoded records durably, behind those that are there, or in their place when the first is a checkpoint; called in
        a thread of the outbox's own; raises OSError.
    perform: does one effect. set_timer: does SetTimer and CancelTimer.
    on_durable: a record with this token is durable. on_failure: the disk refused, why; what waited is dropped.
    """

    def __init__(
        self,
        *,
        append: Callable[[list[bytes], bool], None],
        perform: Callable[[Performed], None],
        set_timer: Callable[[SetTimer | CancelTimer], None],
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._append = append
        self._perform = perform
        self._set_timer = set_timer
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # Not an executor: its futures cost as much CPU as all else that a record takes.
        self._work: SimpleQueue[tuple[int, list[bytes], bool] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="disk", daemon=True)
        self._thread.start()
        self._encode = msgspec.json.Encoder().encode
        self._queue: EffectQueue[Answer] = EffectQueue()
        self._batch: list[bytes] = []
        self._is_checkpoint = False
        """The first record of the batch is a checkpoint."""
        self._is_syncing = False
        self._failure: str | None = None

    @property
    def is_idle(self) -> bool:
        """Nothing waits for the disk."""
        return self._queue.is_idle

    def put(self, effects: Iterable[Effect | Answer]) -> None:
        """Perform the effects of one step: some now, as far as the rules allow, the rest when the disk is ready."""
        for effect in self._queue.put(effects):
            if isinstance(effect, SetTimer | CancelTimer):
                self._set_timer(effect)
            elif isinstance(effect, Persist):
                if self._failure is not None:
                    self._queue.drop()
                    self._loop.call_soon(self._on_failure, self._failure)
                    return
                self._persist(effect)
            else:
                self._perform(effect)

    def close(self) -> None:
        """Forget the effects that wait, and wait for a sync that runs."""
        self._queue.drop()
        self._batch.clear()
        self._work.put(None)
        self._thread.join()

    def _persist(self, effect: Persist) -> None:
        if effect.is_checkpoint:  # It says all that the others in the batch say.
            self._batch.clear()
            self._is_checkpoint = True
        self._batch.append(self._encode(effect.record))
        if not self._is_syncing:
            self._is_syncing = True
            # Not at once: the other events of this turn of the loop may persist too.
            self._loop.call_soon(self._sync)

    def _sync(self) -> None:
        batch, self._batch = self._batch, []
        is_checkpoint, self._is_checkpoint = self._is_checkpoint, False
        self._work.put((self._queue.persisted_count, batch, is_checkpoint))

    def _write(self) -> None:
        """The disk's thread."""
        while (work := self._work.get()) is not None:
            durable_count, batch, is_checkpoint = work
            failure: str | None = None
            try:
                self._append(batch, is_checkpoint)
            except Exception as error:  # noqa: BLE001 (whatever it was, the records are not known to be durable)
                failure = str(error) or type(error).__name__
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(self._synced, durable_count, failure)

    def _synced(self, durable_count: int, failure: str | None) -> None:
        if failure is not None:
            self._failure = failure
            self._queue.drop()
            self._batch.clear()
            self._on_failure(failure)
            return
        if durable_count < self._queue.durable_count:  # It was closed meanwhile.
            return
        effects, tokens = self._queue.synced(durable_count)
        for effect in effects:
            assert not isinstance(effect, Persist | SetTimer | CancelTimer), "these never wait"
            self._perform(effect)
        for token in tokens:
            self._on_durable(token)
        if self._batch:
            self._sync()
        else:
            self._is_syncing = False
