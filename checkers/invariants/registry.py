"""The rules by name: those of this package, those of entry point group `themis.invariants`, and `package.module:Name`."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from typing import Protocol, cast

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Rule

GROUP = "themis.invariants"

_HERE = "checkers.invariants."
BUILT_IN = {
    "election-safety": _HERE + "election_safety:ElectionSafety",
    "log-matching": _HERE + "log_matching:LogMatching",
    "leader-completeness": _HERE + "leader_completeness:LeaderCompleteness",
    "state-machine-safety": _HERE + "state_machine_safety:StateMachineSafety",
    "durability": _HERE + "durability:Durability",
    "persistent-state": _HERE + "persistent_state:PersistentState",
    "kept-commits": _HERE + "kept_commits:KeptCommits",
    "sent-before-acknowledged": _HERE + "sent_before_acknowledged:SentBeforeAcknowledged",
    "majority-commits": _HERE + "majority_commits:MajorityCommits",
    "transfer-catches-up": _HERE + "transfer_catches_up:TransferCatchesUp",
    "single-changes": _HERE + "single_changes:SingleChanges",
    "installed-membership": _HERE + "installed_membership:InstalledMembership",
    "one-value-per-slot": _HERE + "chosen_values:OneValuePerSlot",
    "one-value-per-ballot": _HERE + "chosen_values:OneValuePerBallot",
    "chosen-stays-chosen": _HERE + "chosen_values:ChosenStaysChosen",
    "learned-was-chosen": _HERE + "chosen_values:LearnedWasChosen",
    "promises-kept": _HERE + "promises_kept:PromisesKept",
    "elected-ballots": _HERE + "elected_ballots:ElectedBallots",
    "atomic-commitment": _HERE + "atomic_commitment:AtomicCommitment",
    "durable-decisions": _HERE + "durable_decisions:DurableDecisions",
    "blocking": _HERE + "blocking:Blocking",
}


class RuleClass(Protocol):
    """What makes a rule for one run. ledger: has taken each event before the rule sees it. node_count: members of the cluster."""

    def __call__(self, ledger: Ledger, node_count: int, /) -> Rule: ...


def names() -> list[str]:
    """Every name that `find` knows without a module path, sorted."""
    return sorted(BUILT_IN | {point.name: point.value for point in metadata.entry_points(group=GROUP)})


def statement(name: str) -> str:
    """What the rule says in a sentence: the first of its class, or of its module where the class only says what it reads; "" where
    that is not known."""
    try:
        rule = find(name)
    except (LookupError, ImportError, AttributeError, ValueError):
        return ""
    for doc in (rule.__doc__, getattr(sys.modules.get(rule.__module__), "__doc__", None)):
        first = " ".join((doc or "").split("\n\n")[0].split()).partition(" Watches ")[0]
        if first and not first.startswith(("Watches ", "Judges ")):
            return first.removesuffix(".")
    return ""


def find(name: str) -> RuleClass:
    """The rule called `name`, or at package.module:Name.

    Raises LookupError when there is no such rule; ImportError or AttributeError when its module cannot be loaded; ValueError
    when what is there is not callable.
    """
    path = BUILT_IN.get(name) or next(
        (point.value for point in metadata.entry_points(group=GROUP) if point.name == name), name
    )
    module, colon, attribute = path.partition(":")
    if not colon:
        raise LookupError(name)
    rule = getattr(importlib.import_module(module), attribute)
    if not callable(rule):
        raise ValueError(f"{path} is no rule: it must be a class that takes a ledger and a node count")
    return cast(RuleClass, rule)
