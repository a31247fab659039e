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
from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entry, columns
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.possible import CELLS_MAX, Possibilities, Possible, possibilities, size
from checkers.linearizability.reduce import Reduced, part_of, reduce
from checkers.linearizability.refutation import CONFIGURATIONS_MAX, TooMany, failing_return
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import search as any_search
from checkers.linearizability.wording import Teller, answered, asked, brief, in_words, plain, seconds, shortened
from checkers.models.model import Model
from checkers.verdict import Validity
from histories.op import Op

Search = Callable[[Sequence[Entry], Model, int, float | None], SearchResult]
"""Of entries and a model, with so many configurations (states_max) and seconds (time_limit_s; None: no limit) at most."""

WORK_MAX = 500_000
"""Entries searched in all while the history is reduced: some seconds with the pure core, far less with the native."""

STATES_MAX = 100_000
"""Configurations that one search of the reduction may explore; fewer where each holds a long state."""

STATES_MIN = 2_000

SMALL_MAX = 12
"""Sub-histories of so many operations are refuted by refutation.py: for them, starting a search costs more than
searching."""

SMALL_CONFIGURATIONS_MAX = 20_000

POSITIONS_MAX = 2_000_000
"""What the second algorithm may hold: some 200 MB, and a second or two."""

BRUTE_MAX = 7
"""A sub-history of so many operations is confirmed by trying every order."""

EXTRA_S = 2.0
"""An explanation may take so long beyond what the decision took, unless the checker's time limit ends before."""

WHOLE_MAX = 2_000
"""Histories of so many operations are searched as a whole for the states that were possible, where a monitor refuted."""

WHOLE_STATES_MAX = 2_000

_POSSIBLE_SHARE, _REDUCTION_SHARE = 0.25, 0.75
"""Of the time: the possible states; then, of what is left, the reduction. The rest is for its confirmation."""

_SEARCH_SHARE = 0.4
"""Of the time that the reduction has left, for one search: a hard one early must not take all of it."""

_STATES_SHOWN = 3


def explanation_s(decision_s: float, time_limit_s: float | None) -> float:
    """How long all explanations of a verdict may take, when the decision took `decision_s` of the time limit."""
    most_s = decision_s + EXTRA_S
    return most_s if time_limit_s is None else max(0.0, min(most_s, time_limit_s - decision_s))


def search_briefly(entries: Sequence[Entry], model: Model, states_max: int, time_limit_s: float | None) -> SearchResult:
    """What the reduction refutes with where the caller has nothing else: the model's monitor, or the search."""
    return decide(columns(entries), model, states_max=states_max, time_limit_s=time_limit_s, confirms_core=False)


def explain(
    history: Sequence[Op],
    entries: Sequence[Entry],
    model: Model,
    result: SearchResult,
    search: Search = search_briefly,
    *,
    work_max: int = WORK_MAX,
    time_limit_s: float | None = None,
) -> Refutation:
    """The evidence for an INVALID `result` of `entries`, whose ops are in `history`.

    time_limit_s: what is not done by then is left out; `unfinished` and the core's `limit` say what that was. A crash on
    the way leaves what was explained until then, with the traceback in `error`.
    """
    assert result.failed_at is not None, "only a refuted history is explained"
    deadline = Deadline(time_limit_s)
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
        states_max = _states_max(result)
        if not result.core:
            refutation = _with_possible(refutation, entries, model, result, teller, deadline.share(_POSSIBLE_SHARE))
        reduction = deadline.share(_REDUCTION_SHARE)

        def refute(part: Sequence[Entry]) -> bool:
            return _is_refuted(part, model, search, states_max, reduction)

        reduced = reduce(
            entries,
            result.failed_at,
            model,
            refute,
            work_max=work_max,
            deadline=reduction,
            core=result.core or None,
        )
        if reduced:
            refutation = replace(refutation, minimal=_minimal(reduced, model, teller, search, states_max, deadline))
            if result.core:
                refutation = _searched(refutation, entries, result.core, reduced, model, teller, deadline)
        elif deadline.is_over():
            refutation = replace(refutation, unfinished="the time ended before a short core was found")
        else:
            refutation = replace(refutation, unfinished="within the limits nothing short could be refuted")
    except Exception:  # noqa: BLE001 - a crash of the explanation must not take the refutation away
        refutation = replace(refutation, error=traceback.format_exc())
    return refutation


def _searched(
    refutation: Refutation,
    entries: Sequence[Entry],
    core: Sequence[int],
    reduced: Reduced,
    model: Model,
    teller: Teller,
    deadline: Deadline,
) -> Refutation:
    """With the states that were possible, where a monitor refuted: it looks at values, and knows no states.

    They are those of the whole history where a search of it is quick, else those of the monitor's core, in which values are whole,
    and at last those of the reduced one, which says least: the write of a stale value is not needed to refute its read.
    """
    whole = columns(entries)
    shown = {entry.invoke_index for entry in reduced.entries}
    wider: list[Sequence[Entry]] = [entries] if len(entries) <= WHOLE_MAX else []
    if len(core) <= WHOLE_MAX:
        wider.append(part_of(whole, [entries[i] for i in sorted(set(core))]))
    for part in (*wider, part_of(whole, reduced.entries)):
        left_s = deadline.share(_POSSIBLE_SHARE).left_s()
        found = any_search(part, model, states_max=WHOLE_STATES_MAX, time_limit_s=left_s)
        if found.failed_at is not None and part[found.failed_at].invoke_index in shown:
            count = len(part) if len(part) < len(entries) else None
            return _with_possible(refutation, part, model, found, teller, deadline, part_count=count)
    return refutation


def _with_possible(
    refutation: Refutation,
    entries: Sequence[Entry],
    model: Model,
    result: SearchResult,
    teller: Teller,
    deadline: Deadline,
    *,
    part_count: int | None = None,
) -> Refutation:
    """With the states that were possible by the result of a search, and a sentence of them.

    part_count: how many operations the entries are, where they are not the whole history.
    """
    assert result.failed_at is not None
    failed = entries[result.failed_at]
    possible = possibilities(entries, model, result, deadline)
    return replace(
        refutation,
        failed=teller.witness(failed),
        reason=_sentence(failed, possible, model, teller, part_count),
        possible=tuple(_possible(each, failed, entries, model, teller) for each in possible.states),
        possible_is_complete=possible.is_complete,
        fits_after=teller.witness(possible.fits_after) if possible.fits_after else None,
        fits_initially=possible.fits_initially,
    )


def _states_max(result: SearchResult) -> int:
    """How many configurations a search may hold, by how long the states are that the deciding search left."""
    longest = max((size(configuration.state) for configuration in result.final_configurations), default=1)
    return max(STATES_MIN, min(STATES_MAX, 5 * CELLS_MAX // longest))


def _is_refuted(part: Sequence[Entry], model: Model, search: Search, states_max: int, deadline: Deadline) -> bool:
    share = deadline.share(_SEARCH_SHARE)
    if len(part) <= SMALL_MAX:
        with suppress(TooMany):
            return failing_return(part, model, configurations_max=SMALL_CONFIGURATIONS_MAX, deadline=share) is not None
    return search(part, model, states_max, share.left_s()).validity is Validity.INVALID


def _subject(failed: Entry, model: Model, teller: Teller) -> str:
    key = teller.key(failed)
    on_key = "" if key is None else f" of key {in_words(key)}"
    return f"{asked(failed.operation)}{on_key} by {teller.who(failed)} {answered(failed.operation, model)}"


def _sentence(
    failed: Entry, possible: Possibilities, model: Model, teller: Teller, part_count: int | None = None
) -> str:
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
    among = ""
    if part_count is not None:
        among = "by itself alone, " if part_count == 1 else f"of the {part_count} operations that refute it, "
    if len(possible.states) == 1 and possible.is_complete:
        parts.append(f"{among}the only state left by then: {states[0]}")
    elif possible.states:
        parts.append(f"{among}the states left by then: {', or '.join(states)}")
    if possible.fits_after is not None:
        parts.append(f"it would have fitted after {teller.told(possible.fits_after)}")
    elif possible.fits_initially:
        parts.append("it would have fitted before any of them, in the initial state")
    elif possible.is_unheard_of and part_count != 1:
        none = "no operation before its return" if part_count is None else "none of them"
        parts.append(f"{none} leads to a state that allows it")
    return "; ".join(parts)


def _possible(each: Possible, failed: Entry, entries: Sequence[Entry], model: Model, teller: Teller) -> PossibleState:
    def indices(positions: Sequence[int]) -> tuple[int, ...]:
        return tuple(entries[position].invoke_index for position in positions)

    state_in_words = brief(model.describe(each.state))
    return PossibleState(
        state=plain(shortened(each.state)),
        in_words=state_in_words,
        because=f"{state_in_words}, but {asked(failed.operation)} {answered(failed.operation, model)}",
        after=teller.witness(each.writer) if each.writer else None,
        linearized=indices(each.configuration.linearized),
        pending=indices(each.configuration.pending),
        crashed=indices(each.configuration.crashed),
    )


def _minimal(
    reduced: Reduced, model: Model, teller: Teller, search: Search, states_max: int, deadline: Deadline
) -> MinimalCore:
    return MinimalCore(
        operations=tuple(replace(teller.witness(entry), is_optional=entry.is_crashed) for entry in reduced.entries),
        confirmed_by=_confirmed_by(reduced.entries, model, search, states_max, deadline),
        is_minimal=reduced.is_minimal,
        limit=reduced.limit,
        cut_count=reduced.cut_count,
        projected_count=reduced.projected_count,
        dropped_count=reduced.dropped_count,
        removed_count=reduced.removed_count,
        weakened_count=reduced.weakened_count,
    )


def _confirmed_by(entries: Sequence[Entry], model: Model, search: Search, states_max: int, deadline: Deadline) -> str:
    """Which other algorithm than the first to refute the entries refutes them, too; or why none did in time.

    Raises AssertionError when one linearizes them: one of the two is wrong, and nobody should trust either.
    """
    if deadline.is_over():
        return "nothing else: the time ended"
    if len(entries) <= BRUTE_MAX:
        assert brute.linearization(entries, model) is None, "brute force linearizes what was refuted"
        return "brute force"
    if len(entries) <= SMALL_MAX:
        by_search = search(entries, model, states_max, deadline.share(_SEARCH_SHARE).left_s())
        assert by_search.validity is not Validity.VALID, "the search linearizes what was refuted"
    # A configuration holds up to one position for each process and each crashed operation.
    width = len({entry.process for entry in entries if not entry.is_crashed}) + sum(e.is_crashed for e in entries)
    configurations_max = min(CONFIGURATIONS_MAX, POSITIONS_MAX // (1 + width))
    try:
        failing = failing_return(
            entries, model, configurations_max=configurations_max, deadline=deadline, looks_ahead=True
        )
        assert failing is not None, "the second algorithm linearizes what was refuted"
    except TooMany as error:
        return f"nothing else: {error}"
    return "second algorithm"
