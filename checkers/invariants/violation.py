"""What the rules of this package share: a violation as evidence, and the shape of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from checkers.evidence import Violation

__all__ = ["Handler", "Measures", "Rule", "Violation"]

Handler = Callable[[int, str, Any], Violation | None]
"""(time ns, node, event) of one trace record, the event of the type it is registered for -> what is wrong now, if anything."""


class Rule(Protocol):
    """One invariant, watched online. `handlers`: type of event (histories.tracing) -> what to do with it."""

    name: str

    @property
    def handlers(self) -> Mapping[type, Handler]: ...


@runtime_checkable
class Measures(Rule, Protocol):
    """A rule that also measures: `stats` stands in the verdict under the rule's name."""

    def stats(self) -> Mapping[str, int]:
        """Figures by name, units last."""
        ...
