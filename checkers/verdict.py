"""A checker's answer. It is never just true or false: what could not be decided is UNKNOWN, and the worst part wins."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from checkers.evidence import CheckerCrash, Evidence
from histories.printing import quoted

Found = TypeVar("Found", bound=msgspec.Struct)


class Validity(enum.Enum):
    """VALID, INVALID or UNKNOWN. Not a truth value: `if validity` is an error, because UNKNOWN is neither."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"

    def __bool__(self) -> bool:
        raise TypeError("a Validity is not a truth value: compare it with Validity.VALID, INVALID or UNKNOWN")

    @property
    def badness(self) -> int:
        """0 valid, 1 unknown, 2 invalid: merging takes the greatest."""
        return {"valid": 0, "unknown": 1, "invalid": 2}[self.value]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one checker found.

    checker: the name it is shown under, such as "linearizable" or "vacuity".
    reason: one sentence in words for anything that is not VALID.
    evidence: what proves the verdict, as data that a report can draw; never prose only.
    stats: JSON-like numbers about the check itself (configurations, ns, which core ran).
    parts: the verdicts that were merged into this one, by name.
    """

    validity: Validity
    checker: str = ""
    reason: str = ""
    evidence: Evidence | None = None
    stats: dict[str, Any] = {}
    parts: dict[str, Verdict] = {}

    @classmethod
    def valid(
        cls, checker: str = "", *, evidence: Evidence | None = None, stats: dict[str, Any] | None = None
    ) -> Verdict:
        """What was checked is allowed."""
        return cls(Validity.VALID, checker, "", evidence, stats or {})

    @classmethod
    def invalid(
        cls,
        reason: str,
        checker: str = "",
        *,
        evidence: Evidence | None = None,
        stats: dict[str, Any] | None = None,
    ) -> Verdict:
        """What was checked is not allowed, and `reason` says why."""
        assert reason, "an INVALID verdict says why"
        return cls(Validity.INVALID, checker, reason, evidence, stats or {})

    @classmethod
    def unknown(
        cls,
        reason: str,
        checker: str = "",
        *,
        evidence: Evidence | None = None,
        stats: dict[str, Any] | None = None,
    ) -> Verdict:
        """Nothing was decided, and `reason` says why."""
        assert reason, "an UNKNOWN verdict says why"
        return cls(Validity.UNKNOWN, checker, reason, evidence, stats or {})

    def leaves(self, name: str = "") -> Iterator[tuple[str, Verdict]]:
        """The verdicts that were not merged from others, with their names; `name` is this one's."""
        if not self.parts:
            yield name or self.checker, self
        for part_name, part in self.parts.items():
            yield from part.leaves(part_name)

    def evidence_of(self, kind: type[Found]) -> Found:
        """The evidence, which is of this kind. Raises TypeError when it is of another, or there is none."""
        if isinstance(self.evidence, kind):
            return self.evidence
        raise TypeError(f"the evidence of {self.checker} is {type(self.evidence).__name__}, not {kind.__name__}")


def merge(parts: Mapping[str, Verdict], checker: str = "all") -> Verdict:
    """The worst of the parts: INVALID > UNKNOWN > VALID. Nothing checked is UNKNOWN, never VALID."""
    if not parts:
        return Verdict.unknown("nothing was checked", checker)
    worst = max((part.validity for part in parts.values()), key=lambda validity: validity.badness)
    reasons = [f"{name}: {part.reason}" for name, part in parts.items() if part.validity is worst and part.reason]
    return Verdict(worst, checker, "; ".join(reasons), parts=dict(parts))


def guarded(checker: str, check: Callable[[], Verdict], lets_pass: tuple[type[Exception], ...] = ()) -> Verdict:
    """`check()`'s verdict; a crash inside it is UNKNOWN with its traceback, so that it can never pass for VALID.

    An answer that is no Verdict, or that cannot be written as JSON, counts as a crash. Exceptions of `lets_pass` are raised.
    """
    try:
        verdict: object = check()
        if not isinstance(verdict, Verdict):
            raise TypeError(f"it returned {type(verdict).__name__}, not a Verdict")
        if not isinstance(verdict.validity, Validity):  # A Struct does not look at what it is made of.
            raise TypeError(f"its verdict is {quoted(verdict.validity)}, not a Validity")
        msgspec.json.encode(verdict)
        return verdict
    except lets_pass:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the one place where any crash of a checker becomes a verdict
        return Verdict.unknown(
            f"the checker crashed: {type(error).__name__}: {error}",
            checker,
            evidence=CheckerCrash(traceback.format_exc()),
        )
