"""Weakens the verdict of the rules where the trace of a node told nothing. Each node tells that it started, so that trace was lost.
What the node did may break a rule, and may be what the others seem to lack, such as a copy of an entry."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from checkers import Validity, Verdict


def despite_silence(verdict: Verdict, silent: Collection[str]) -> Verdict:
    """The rules' verdict, which is UNKNOWN where a node is silent. silent: the nodes whose traces told nothing."""
    if verdict.validity is Validity.UNKNOWN or not silent:
        return verdict
    why = f"no record of {', '.join(sorted(silent))} is in the traces, so that nobody knows what happened there"
    others = f"; by those of the others: {verdict.reason}" if verdict.reason else ""
    return msgspec.structs.replace(verdict, validity=Validity.UNKNOWN, reason=why + others)
