"""Why one key's history is not linearizable: evidence as data, and one sentence in words.

The operation that does not fit, the states that were still possible when it returned, who brought them about, and a
short sub-history that is not linearizable either (reduce.py), confirmed by an algorithm that did not find it (brute
force or refutation.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from checkers import brute
from checkers.evidence import MinimalCore, PossibleState, Refutation
from checkers.linearizability.encode import Entry
from checkers.linearizability.possible import Possibilities, Possible, possibilities
from checkers.linearizability.reduce import Reduced, reduce
from checkers.linearizability.refutation import CONFIGURATIONS_MAX, TooMany, failing_return
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import search as any_search
from checkers.linearizability.wording import Teller, answered, asked, brief, in_words, plain, seconds
from checkers.models.model import Model
from checkers.verdict import Validity
from histories.op import Op

Search = Callable[[Sequence[Entry], Model], SearchResult]

WORK_MAX = 500_000
"""Entries searched in all while the history is reduced: some seconds with the pure core, far less with the native."""

STATES_MAX = 100_000
"""Configurations that one search of the reduction may explore."""

SMALL_MAX = 12
"""Sub-histories of so many operations are refuted by refutation.py: for them, starting a search costs more than
searching."""

SMALL_CONFIGURATIONS_MAX = 20_000

POSITIONS_MAX = 2_000_000
"""What the second algorithm may hold: some 200 MB, and a second or two."""

BRUTE_MAX = 7
"""A sub-history of so many operations is confirmed by trying every order."""

_STATES_SHOWN = 3


def search_briefly(entries: Sequence[Entry], model: Model) -> SearchResult:
    """The search that the reduction uses where the caller has no other."""
    return any_search(entries, model, states_max=STATES_MAX)


def explain(
    history: Sequence[Op],
    entries: Sequence[Entry],
    model: Model,
    result: SearchResult,
    search: Search = search_briefly,
    *,
    work_max: int = WORK_MAX,
) -> Refutation:
    """The evidence for an INVALID `result` of `entries`, whose ops are in `history`.

    A crash on the way leaves what was explained until then, with the traceback in `error`.
    """
    assert result.failed_at is not None, "only a refuted history is explained"
    failed = entries[result.failed_at]
    teller = Teller(history)
    refutation = Refutation(
        key=plain(teller.key(failed)),
        reason=_subject(failed, model, teller) + " cannot be linearized",
        failed=teller.witness(failed),
        is_shortest=result.is_shortest,
        linearizable_up_to=result.linearizable_up_to,
    )
    try:
        possible = possibilities(entries, model, result)
        refutation = replace(
            refutation,
            reason=_sentence(failed, possible, model, teller),
            possible=tuple(_possible(each, failed, entries, model, teller) for each in possible.states),
            possible_is_complete=possible.is_complete,
            fits_after=teller.witness(possible.fits_after) if possible.fits_after else None,
        )

        def refute(part: Sequence[Entry]) -> bool:
            return _is_refuted(part, model, search)

        if reduced := reduce(entries, result.failed_at, model, refute, work_max=work_max):
            refutation = replace(refutation, minimal=_minimal(reduced, model, teller, search))
    except Exception:  # noqa: BLE001 - a crash of the explanation must not take the refutation away
        refutation = replace(refutation, error=traceback.format_exc())
    return refutation


def _is_refuted(part: Sequence[Entry], model: Model, search: Search) -> bool:
    if len(part) <= SMALL_MAX:
        with suppress(TooMany):
            return failing_return(part, model, configurations_max=SMALL_CONFIGURATIONS_MAX) is not None
    return search(part, model).validity is Validity.INVALID


def _subject(failed: Entry, model: Model, teller: Teller) -> str:
    key = teller.key(failed)
    on_key = "" if key is None else f" of key {in_words(key)}"
    return f"{asked(failed.operation)}{on_key} by {teller.who(failed)} {answered(failed.operation, model)}"


def _sentence(failed: Entry, possible: Possibilities, model: Model, teller: Teller) -> str:
    invocation, completion = teller.op(failed.invoke_index), teller.op(failed.complete_index)
    if invocation is None or completion is None:
        when = "while it was open"
    else:
        if completion.time - invocation.time < 1_000_000:
            teller.digits = 6  # Else both ends of the interval would read the same.
        when = f"from {seconds(invocation.time, teller.digits)} to {seconds(completion.time, teller.digits)}"
    parts = [f"{_subject(failed, model, teller)}, which nothing {when} allows"]
    states = [
        brief(model.describe(each.state)) + (f" ({teller.told(each.writer)})" if each.writer else "")
        for each in possible.states[:_STATES_SHOWN]
    ]
    if not possible.is_complete or len(possible.states) > _STATES_SHOWN:
        states.append("perhaps others, which exclude it as well")
    if len(possible.states) == 1 and possible.is_complete:
        parts.append(f"the only state left by then: {states[0]}")
    elif possible.states:
        parts.append(f"the states left by then: {', or '.join(states)}")
    if possible.fits_after is not None:
        parts.append(f"it would have fitted after {teller.told(possible.fits_after)}")
    elif possible.fits_initially:
        parts.append("it would have fitted before any of them, in the initial state")
    elif possible.is_unheard_of:
        parts.append("no operation before its return leads to a state that allows it")
    return "; ".join(parts)


def _possible(each: Possible, failed: Entry, entries: Sequence[Entry], model: Model, teller: Teller) -> PossibleState:
    def indices(positions: Sequence[int]) -> tuple[int, ...]:
        return tuple(entries[position].invoke_index for position in positions)

    state_in_words = brief(model.describe(each.state))
    return PossibleState(
        state=plain(each.state),
        in_words=state_in_words,
        because=f"{state_in_words}, but {asked(failed.operation)} {answered(failed.operation, model)}",
        after=teller.witness(each.writer) if each.writer else None,
        linearized=indices(each.configuration.linearized),
        pending=indices(each.configuration.pending),
        crashed=indices(each.configuration.crashed),
    )


def _minimal(reduced: Reduced, model: Model, teller: Teller, search: Search) -> MinimalCore:
    return MinimalCore(
        operations=tuple(replace(teller.witness(entry), is_optional=entry.is_crashed) for entry in reduced.entries),
        confirmed_by=_confirmed_by(reduced.entries, model, search),
        is_minimal=reduced.is_minimal,
        cut_count=reduced.cut_count,
        projected_count=reduced.projected_count,
        dropped_count=reduced.dropped_count,
        removed_count=reduced.removed_count,
        weakened_count=reduced.weakened_count,
    )


def _confirmed_by(entries: Sequence[Entry], model: Model, search: Search) -> str:
    """Which other algorithm than the first to refute the entries refutes them, too.

    Raises AssertionError when it does not: one of the two is wrong, and nobody should trust either.
    """
    if len(entries) <= BRUTE_MAX:
        assert brute.linearization(entries, model) is None, "brute force linearizes what was refuted"
        return "brute force"
    if len(entries) <= SMALL_MAX:
        assert search(entries, model).validity is not Validity.VALID, "the search linearizes what was refuted"
    # A configuration holds up to one position for each process and each crashed operation.
    width = len({entry.process for entry in entries if not entry.is_crashed}) + sum(e.is_crashed for e in entries)
    configurations_max = min(CONFIGURATIONS_MAX, POSITIONS_MAX // (1 + width))
    try:
        failing = failing_return(entries, model, configurations_max=configurations_max)
        assert failing is not None, "the second algorithm linearizes what was refuted"
    except TooMany as error:
        return f"nothing else: {error}"
    return "second algorithm"
