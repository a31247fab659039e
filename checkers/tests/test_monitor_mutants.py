"""Mistakes made on purpose in the text of the pure monitors, one at a time: the random histories must see each of them.

A mutant is the module with one piece of its text replaced, run on histories that brute force judges. Bounds are off by two, not by
one: hi + 1 is always a return and lo always a call, so `lo > hi` and `lo > hi + 1` say the same.
"""

from __future__ import annotations

import importlib.util
import sys
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest

from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.monitors import collection, copies, fifo, lifo, peeked, placing, priority, sets, trees
from checkers.linearizability.monitors.monitor import Decision, undecided
from checkers.models.model import Model
from checkers.tests.monitor_cases import BY_HAND, CASES, REPEATED, REPEATED_BY_HAND, refute

HISTORIES_MAX = 30_000

_USERS = {"queue": fifo, "stack": lifo, "priority queue": priority, "set": sets, "repeated queue": copies}

MUTANTS: tuple[tuple[str, ModuleType, str, str], ...] = (
    ("queue", collection, "if hi[i] < values.e_hi[v]:", "if False:"),
    ("queue", collection, "if take >= 0 and lo[i] > values.d_lo[v]:", "if False:"),
    ("queue", collection, "return invalid([i])  # Nobody put it in.", "continue"),
    ("queue", collection, "lo[i] = rank", "lo[i] = rank - 2"),
    ("queue", collection, "if self.e_hi[v] + 1 < self.d_lo[v]:", "if self.e_hi[v] + 3 < self.d_lo[v]:"),
    ("queue", collection, "return invalid([values.put[v], values.take[v], i])", "pass"),
    ("queue", fifo, "values.e_hi[ended[at]] < values.e_lo[v]", "values.e_hi[ended[at]] <= values.e_lo[v] + 1"),
    ("queue", fifo, "self.d_lo[latest] > self.h[v]", "self.d_lo[latest] > self.h[v] + 2"),
    ("queue", fifo, "if h[b] < d_lo[a]:", "if False:"),
    ("queue", placing, "calls[i] > deadline", "calls[i] > deadline + 2"),
    ("queue", placing, "if i >= len(calls) or", "if i < len(calls) and"),
    ("queue", fifo, "bisect_left(ended, g) > bisect_right(self.calls, g)", "bisect_left(ended, g) > len(self.calls)"),
    ("queue", fifo, "bisect_left(ended, g) > bisect", "bisect_left(ended, g + 1) > bisect"),
    ("queue", fifo, "if at >= 0 and h[v] < values.d_lo[zones[at]]:", "if False:"),
    ("queue", fifo, "if values.take[v] >= 0 and h[v] < d_lo[v]:", "if False:"),
    ("queue", fifo, "values.e_lo[by_begin[at]] > values.e_hi[u]", "values.e_lo[by_begin[at]] > values.e_lo[u]"),
    ("queue", fifo, "if covered[g] or is_short", "if covered[g] and is_short"),
    ("queue", fifo, "d_lo[v] = h[v] = block + 2 * self.h[v] + 1", "pass"),
    (
        "stack",
        lifo,
        "m1, m2 = peel.least_e_hi(first, last), d_lo[last]",
        "m1, m2 = peel.least_e_hi(first, last), d_lo[first]",
    ),
    ("stack", lifo, "cover.remove(k)", "pass"),
    ("stack", lifo, "todo.append((~take, 0))", "todo.insert(0, (~take, 0))"),
    ("stack", trees, "self.e_lo[node] > m1", "self.e_lo[node] > m1 + 2"),
    ("stack", trees, "self.d_hi[node] < m2", "self.d_hi[node] < m2 - 2"),
    ("stack", trees, "bisect_right(d_lo, each)", "bisect_right(d_lo, each + 2)"),
    ("stack", lifo, "values.e_hi[begins[at]] < g", "values.e_hi[begins[at]] <= g"),
    ("stack", lifo, "while open_ and values.d_lo[open_[0][1]] <= g:", "while open_ and values.d_lo[open_[0][1]] < g:"),
    ("stack", lifo, "            if now > hi[i]:", "            if False:"),
    ("stack", lifo, "if sum(needed) > len(values.unknown_takes):", "if False:"),
    ("stack", lifo, "core += values.whole(u)", "core.append(values.put[u])"),
    ("stack", lifo, "around[-1] = k", "pass"),
    ("stack", peeked, "if self._fit(peel, k, first, last):", "if True:"),
    (
        "stack",
        peeked,
        "if begin > m1 and end < m2 and self.cover.first_free(begin, end) < 0:",
        "if begin > m1 and end < m2:",
    ),
    ("stack", peeked, "self.cover.put_back(k)", "pass"),
    ("stack", peeked, "begin if begin <= m1 else self.cover.first_free(begin, end)", "begin"),
    ("stack", peeked, "bisect_right(self.d_lo, g)", "bisect_right(self.d_lo, g - 1)"),
    ("stack", peeked, "sorted(chosen)", "sorted(chosen, reverse=True)"),
    ("stack", peeked, "core.append(i)", "pass"),
    ("repeated queue", copies, "end[i] = bound", "end[i] = bound - 2"),
    (
        "repeated queue",
        copies,
        "zip(positions, sorted(entries.end[i] for i in positions)",
        "zip(positions, (entries.end[i] for i in positions)",
    ),
    ("repeated queue", copies, "if Kind.UNKNOWN_TAKE in spoken.kind:", "if False:"),
    ("repeated queue", copies, "if any(entries.end[i] < 0 for i in own):", "if False:"),
    ("repeated queue", copies, "found += copies.puts[v] + copies.takes[v]", "pass"),
    ("priority queue", priority, "if self.chosen[v] > values.hi[take]:", "if self.chosen[v] > values.hi[take] + 2:"),
    ("priority queue", priority, "gap = free.find(values.e_hi[v] + 1)", "gap = free.find(values.e_hi[v] + 3)"),
    ("priority queue", priority, "while gap < values.d_lo[v]:", "while gap <= values.d_lo[v]:"),
    ("priority queue", priority, "first = max(values.lo[i], values.e_lo[v])", "first = values.lo[i]"),
    ("priority queue", priority, "self.put_at[v] = max(values.e_lo[v], cut)", "self.put_at[v] = values.e_lo[v]"),
    ("priority queue", priority, "least.above(values.e_hi[v])", "least.above(values.e_hi[v] - 2)"),
    ("priority queue", priority, "gap = max(self.peek_at[i], begins)", "gap = self.peek_at[i]"),
    ("set", sets, "if x < lo[add] or y > hi[remove]:", "if x < lo[add]:"),
    ("set", sets, "elif any(lo[i] > x and hi[i] < y for i in absent):", "elif False:"),
    ("set", sets, "before = [*absent, remove] if self.returned(remove) else absent", "before = absent"),
    ("set", sets, "if self.x_hi[v] < at:", "if False:"),
    ("set", sets, "if self.hi[i] < at:", "if self.hi[i] < at - 2:"),
    ("set", sets, "for i in (*adds, *self.present[v]):", "for i in adds:"),
    ("set", sets, "if s >= 0 and len(self.set(s)) - len(members) != size:", "if False:"),
    ("set", sets, "if len(adds) > 1 or len(removes) > 1 or self.reads:", "if len(removes) > 1 or self.reads:"),
)
"""Model, module, text, and what stands there instead."""


def mutated(name: str, module: ModuleType, text: str, instead: str) -> ModuleType:
    """The monitor's module, with the mistake in it or in the module that it uses."""
    changed = _load(module, text, instead)
    user = _USERS[name]
    if module is user:
        return changed
    fresh = _load(user, "", "")
    for attribute, value in vars(changed).items():
        if attribute in vars(fresh) and not attribute.startswith("__"):
            setattr(fresh, attribute, value)
    return fresh


def _load(module: ModuleType, text: str, instead: str) -> ModuleType:
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    if text:
        assert source.count(text) >= 1, f"{text!r} is no longer in {module.__name__}"
        source = source.replace(text, instead, 1)
    spec = importlib.util.spec_from_loader(f"{module.__name__}_mutant", loader=None)
    assert spec is not None
    fresh = importlib.util.module_from_spec(spec)
    sys.modules[fresh.__name__] = fresh
    exec(compile(source, module.__file__, "exec"), fresh.__dict__)
    return fresh


def decide(monitor: ModuleType, part: Entries, model: Model) -> Decision:
    """The mutant's decision; a crash is one that decides nothing, which the healthy monitor never has."""
    try:
        options = {"monitor": fifo.decide} if hasattr(monitor, "CRASHED_PUT") else {}
        decision: Decision = monitor.decide(part, model, **options)
    except Exception as error:  # noqa: BLE001 - whatever a mistake leads to
        return undecided(f"crashed: {error!r}")
    return decision


@pytest.mark.long
@pytest.mark.parametrize(("name", "module", "text", "instead"), MUTANTS)
def test_a_mistake_is_seen(name: str, module: ModuleType, text: str, instead: str) -> None:
    case, mutant = CASES.get(name) or REPEATED[name.removeprefix("repeated ")], mutated(name, module, text, instead)
    random = (case.history(seed, 7, 5) for seed in range(HISTORIES_MAX))
    by_hand = [made for key in BY_HAND if key.partition(",")[0] == name for made in BY_HAND[key]]
    by_hand += REPEATED_BY_HAND if name == "repeated queue" else ()
    for part in chain(map(entries, by_hand), random):
        decision = decide(mutant, part, case.model)
        if decision.reason.startswith("crashed") or refute(part, case.model, decision) is not None:
            return
    pytest.fail("no history shows it")


def test_there_are_thirty_mistakes() -> None:
    assert len(MUTANTS) >= 30
