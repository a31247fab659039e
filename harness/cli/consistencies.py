"""What `themis check --consistency` knows beside linearizability: a check of a loaded history for each name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

import msgspec

from checkers.causal import causal
from checkers.causal.check import Strength
from checkers.causal.levels import Level, isolation
from checkers.models import registry
from checkers.models.model import Model
from checkers.sequential import sequential
from checkers.sessions import GUARANTEES, session_guarantee
from checkers.transactions.models import MODELS, OTHER_NAMES
from checkers.verdict import Verdict
from harness.errors import UsageError, unknown_name
from histories.history import History
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.loaded import Loaded

LINEARIZABLE = "linearizable"
SEQUENTIAL = "sequential"
LEVELS: tuple[str, ...] = get_args(Level)
OF_REGISTERS: tuple[str, ...] = (*get_args(Strength), *LEVELS, *GUARANTEES)
"""Decided for read, write, cas and txn alone: they take no model."""
NAMES = (LINEARIZABLE, SEQUENTIAL, *OF_REGISTERS)
DEFAULT_MODEL = "cas-register"


class Question(msgspec.Struct, frozen=True):
    """What to check for. model: the sequential specification; None for what takes none. initial: without a model, what each key
    holds at first."""

    consistency: str
    model: Model | None
    initial: Any = None

    def check(self, loaded: Loaded, states_max: int | None, time_limit_s: float | None) -> Callable[[History], Verdict]:
        """Gives the verdict of anything but linearizability on the loaded history, or on a course of it."""
        nil_reads = loaded.nil_reads_are_wildcards
        initial = self.initial
        if loaded.format == "dbcop" and initial == 0:
            initial = None  # Its reader has made null of these (histories.session_files).
        if self.consistency == SEQUENTIAL:
            assert self.model is not None
            return partial(
                sequential,
                model=self.model,
                states_max=states_max,
                time_limit_s=time_limit_s,
                nil_reads=nil_reads,
            )
        options: Mapping[str, Any] = {"initial": initial, "nil_reads": nil_reads}
        if self.consistency in GUARANTEES:
            return partial(session_guarantee, guarantee=self.consistency, **options)
        if self.consistency in LEVELS:
            return partial(isolation, level=self.consistency, **options)  # type: ignore[arg-type]
        return partial(causal, strength=self.consistency, time_limit_s=time_limit_s, **options)  # type: ignore[arg-type]


def question(
    model: str | None, consistency: str | None, initial: str | None, find_model: Callable[[str, str | None], Model]
) -> Question | None:
    """What the options ask: None where they name neither a model nor a consistency. Raises UsageError."""
    if consistency is None and model in NAMES:
        model, consistency = None, model
    if consistency is None:
        return None if model is None else Question(LINEARIZABLE, find_model(model, initial))
    if consistency not in NAMES and consistency in {*MODELS, *OTHER_NAMES}:
        raise UsageError(
            f"--consistency {consistency} is about transactions: --workload list-append --consistency-models {consistency} asks "
            "for it, or rw-register in place of list-append"
        )
    if consistency not in NAMES:
        raise unknown_name("consistency model", consistency, NAMES)
    if consistency in OF_REGISTERS:
        if model is not None:
            raise UsageError(f"--consistency {consistency} is about reads and writes, and takes no --model")
        return Question(consistency, None, _value(initial))
    if model is None and consistency == LINEARIZABLE:
        raise UsageError(f"--consistency linearizable needs --model, one of {', '.join(registry.names())}")
    return Question(consistency, find_model(model or DEFAULT_MODEL, initial))


def _value(initial: str | None) -> Any:
    if initial is None:
        return None
    try:
        return decoded(msgspec.json.decode, os.fsencode(initial), FILE_DEPTH_MAX)
    except msgspec.DecodeError as error:
        raise UsageError(f"--initial {initial}: this is not JSON ({error}); a text is written '\"text\"'") from error
