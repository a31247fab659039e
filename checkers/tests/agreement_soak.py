"""`python -m checkers.tests.agreement_soak [--rounds N] [--from ROUND] [--twins] [NAME ...]`: every type against brute force,
native against pure.

A round has 100 small histories of each monitor's kinds and of each model for the search, and 40 larger ones for each pair of twins.
What a monitor leaves open is decided by the search, and that by brute force. Prints its totals after each tenth round; a history
on which two disagree ends it with 1, and is printed. Rounds are numbered, so that a later run goes on where an earlier one ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from checkers import brute
from checkers.linearizability import growing, native
from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.monitors.monitor import Twins
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.search import search
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find
from checkers.tests.monitor_cases import CASES, REPEATED, answer, in_words, refute
from checkers.tests.random_histories import ALPHABETS, random_history, seeded
from checkers.tests.register_histories import MODELS, model_of, random_entries
from checkers.verdict import Validity

SMALL, LARGE = 100, 40
"""Histories of a kind in a round: of up to 7 operations, and of up to 60."""

FIRST_SEED = 10_000_000


def main(arguments: list[str]) -> int:
    """Go through the rounds. 0 when all agreed."""
    parser = argparse.ArgumentParser(prog="python -m checkers.tests.agreement_soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the number of the first round")
    parser.add_argument("--twins", action="store_true", help="only native against pure, on the larger histories")
    parser.add_argument("names", nargs="*", help="of monitors' kinds and of models (default: all)")
    options = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    for round_ in range(options.first, options.first + options.rounds):
        for name, disagreement in _round(round_, total, options.names, only_twins=options.twins):
            if disagreement is not None:
                sys.stdout.write(f"round {round_}, {name}: {disagreement}\n")
                return 1
        if round_ % 10 == 9 or round_ == options.first + options.rounds - 1:
            counts = ", ".join(f"{what} {count:,}" for what, count in sorted(total.items()))
            sys.stdout.write(f"round {round_}: {counts}, {time.process_time():.0f} CPU s\n")
            sys.stdout.flush()
    return 0


def _round(
    round_: int, total: Counter[str], names: Sequence[str], *, only_twins: bool
) -> Iterator[tuple[str, str | None]]:
    for name, make in _monitored():
        if names and name not in names:
            continue
        model, twins = _monitor(name)
        if not only_twins:
            for seed in range(FIRST_SEED + round_ * SMALL, FIRST_SEED + (round_ + 1) * SMALL):
                yield name, _small(make(seed, 7, 5, 1.0), model, twins, total)
        for seed in range(FIRST_SEED + round_ * LARGE, FIRST_SEED + (round_ + 1) * LARGE):
            yield name, _large(make(seed, 60, 8, (0, 0.02, 0.1, 1)[seed % 4]), model, twins, total)
    for name in [] if only_twins else sorted(ALPHABETS):
        if names and name not in names:
            continue
        for seed in range(FIRST_SEED + round_ * SMALL, FIRST_SEED + (round_ + 1) * SMALL):
            history = random_history(name, seeded(seed), ops_max=7, processes=2 + seed % 3)
            yield name, _searched(entries(history, refused=seed % 2 == 0), find(name), total)


def _monitored() -> Iterator[tuple[str, Callable[[int, int, int, float], Entries]]]:
    """Names, and how a history of a seed, a size, processes and a factor of wrong answers is made."""
    for name in sorted(CASES):
        yield name, CASES[name].history
    for name in sorted(REPEATED):
        yield f"repeated {name}", REPEATED[name].history
    for kind in sorted(MODELS):
        yield kind, partial(random_entries, kind)


def _monitor(name: str) -> tuple[Model, Twins]:
    name = name.removeprefix("repeated ")
    model = CASES[name].model if name in CASES else model_of(name)
    twins = monitor_of(model)
    assert twins is not None
    return model, twins


def _small(part: Entries, model: Model, twins: Twins, total: Counter[str]) -> str | None:
    decision = twins.pure(part, model)
    total["small"] += 1
    if decision.validity is Validity.UNKNOWN and twins.copies is not None:
        decision = twins.copies(part, model, twins.pure)
    total[f"small {decision.validity.name.lower()}"] += 1
    if (wrong := refute(part, model, decision)) is not None:
        return "\n".join([wrong, repr(decision), *in_words(part)])
    is_refuted = growing.is_refuted(part, model)
    if is_refuted is not None and decision.validity is (Validity.VALID if is_refuted else Validity.INVALID):
        return "\n".join(["the order of the log says otherwise", repr(decision), *in_words(part)])
    return _searched(part, model, total) if decision.validity is Validity.UNKNOWN else None


def _searched(part: Entries, model: Model, total: Counter[str]) -> str | None:
    """What is wrong with what both cores of the search say."""
    total["searched"] += 1
    expected = Validity.INVALID if brute.linearization(part, model) is None else Validity.VALID
    total[f"searched {expected.name.lower()}"] += 1
    for core in ("pure", "native") if native.core is not None else ("pure",):
        result = search(part, model, core=core)
        if result.validity is not expected:
            return "\n".join([f"the {core} search says {result.validity}, {result.reason}", *in_words(part)])
        if result.linearization is not None and (wrong := verify(part, model, result.linearization)) is not None:
            return "\n".join([f"the {core} search: {wrong}", *in_words(part)])
    return None


def _large(part: Entries, model: Model, twins: Twins, total: Counter[str]) -> str | None:
    if twins.native is None:
        return None
    total["large"] += 1
    pure, native_one = twins.pure(part, model), twins.native(part, model)
    if pure.validity is Validity.UNKNOWN and twins.copies is not None:
        pure, native_one = twins.copies(part, model, twins.pure), twins.copies(part, model, twins.native)
    total[f"large {pure.validity.name.lower()}"] += 1
    if answer(native_one) != answer(pure):
        return "\n".join(["the twins differ", *in_words(part)])
    wrong = verify(part, model, pure.linearization) if pure.validity is Validity.VALID else None
    return None if wrong is None else "\n".join([wrong, *in_words(part)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
