"""Mistakes in the monitors of registers and append-only values: each would give a wrong verdict, or a core that proves nothing."""

from __future__ import annotations

from harness.tests.mutation.mutant import Mutant

_MONITORS = "checkers/linearizability/monitors/"
BLOCKS, REGISTER, LOG = _MONITORS + "blocks.py", _MONITORS + "register.py", _MONITORS + "append_list.py"
_TESTS = ("test_register_monitors.py",)
_NO_PROOF = "the core would be one that an order explains, and prove nothing"
_FALSE_VALID, _FALSE_INVALID = (
    "a history that no order explains would be valid",
    "a history that an order explains would be invalid",
)


def _mutant(name: str, file: str, text: str, instead: str, why: str) -> Mutant:
    return Mutant(f"register-{name}", file, text, instead, why, _TESTS)


MUTANTS = (
    _mutant("block-off-by-one", BLOCKS, "if ret[writer] < last_call:", "if ret[writer] < last_call - 1:", _FALSE_VALID),
    _mutant("block-touching", BLOCKS, "if ret[writer] < last_call:", "if ret[writer] <= last_call:", _FALSE_INVALID),
    _mutant("read-touching", BLOCKS, "if ret[read] < before:", "if ret[read] <= before:", _FALSE_INVALID),
    _mutant("last-return", BLOCKS, "if ret[writer] < first_return:", "if ret[writer] > first_return:", _FALSE_VALID),
    _mutant("initial-late", BLOCKS, "first_return = -1\n", "first_return = NEVER\n", _FALSE_VALID),
    _mutant(
        "zones-overlap",
        BLOCKS,
        "if zones[b].first_return < zones[a].last_call:",
        "if False:",
        _FALSE_VALID,
    ),
    _mutant(
        "zones-touching",
        BLOCKS,
        "if zones[b].first_return < zones[a].last_call:",
        "if zones[b].first_return <= zones[a].last_call:",
        _FALSE_INVALID,
    ),
    _mutant("wrong-zone", BLOCKS, "bisect_left(begins, moment) - 1", "bisect_left(begins, moment)", _FALSE_VALID),
    _mutant(
        "moments-go-back",
        BLOCKS,
        "latest = max(latest, blocks.call[entry])",
        "latest = blocks.call[entry]",
        _FALSE_VALID,
    ),
    _mutant(
        "crashed-cas-unseen",
        REGISTER,
        "                if writer in self.old:\n                    todo",
        "                if False:\n                    todo",
        _FALSE_VALID,
    ),
    _mutant("two-cas", REGISTER, "                if other != entry:\n", "                if False:\n", _FALSE_VALID),
    _mutant("initial-again", REGISTER, "count + (value == _INITIAL) > 1", "count > 1", _FALSE_INVALID),
    _mutant("cycle", REGISTER, "if len(self.phases) - len(self.begin) + 1 < len(next_cas):", "if False:", _FALSE_VALID),
    _mutant("refused-first", REGISTER, "if begin <= place <= end:", "if begin < place <= end:", _FALSE_VALID),
    _mutant("refused-last", REGISTER, "if begin <= place <= end:", "if begin <= place < end:", _FALSE_VALID),
    _mutant(
        "refused-before-value",
        REGISTER,
        "self.ret[first] < self.entries.call[refused]",
        "self.ret[first] <= self.entries.call[last]",
        _FALSE_INVALID,
    ),
    _mutant("refused-after-value", REGISTER, "self.ret[refused] < self.entries.call[last]", "True", _FALSE_INVALID),
    _mutant("absent-is-empty", REGISTER, 'if self._is_kv and seen == "":', "if False:", _FALSE_INVALID),
    _mutant("core-without-writers", REGISTER, "found += self._before(phase)", "pass", _NO_PROOF),
    _mutant("piece-twice", LOG, "!= block or writer in self.blocks[block].phase_at:", "!= block:", _FALSE_VALID),
    _mutant(
        "core-without-read",
        LOG,
        "if len(ends) == 1 and block == _INITIAL_BLOCK and not",
        "if len(ends) == 1 and not",
        _NO_PROOF,
    ),
    _mutant(
        "unread-append", LOG, "            if entry not in self.block_of:\n", "            if False:\n", _FALSE_VALID
    ),
    _mutant("two-beginnings", LOG, "        if len(starts) > 1:\n", "        if False:\n", _FALSE_INVALID),
)
