"""Keeps what goes wrong in the harness itself during a run, so that the rest of the run is still done."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from harness.store.runs import HarnessFailure

_log = logging.getLogger("themis")


class Failures:
    """The harness's failures in one run, in order of time."""

    def __init__(self) -> None:
        self.found: list[HarnessFailure] = []

    @contextmanager
    def noted(self, phase: str) -> Iterator[None]:
        """An exception inside is recorded under `phase`, and the run goes on to what must still be done."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded as a harness failure, which has an exit code of its own
            _log.exception("harness failure in %s", phase)
            self.add(phase, f"{type(error).__name__}: {error}", traceback.format_exc())

    def add(self, phase: str, error: str, trace: str = "") -> None:
        self.found.append(HarnessFailure(phase, error, trace))
