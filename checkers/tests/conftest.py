"""The tests of checkers compare explanations, and a busy machine must not cut one short."""

import pytest

from checkers.linearizability import explain
from checkers.linearizability.monitors import confirming


@pytest.fixture(autouse=True)
def explanations_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explanations and confirmations take what they need; a test of a limit calls what has one."""
    monkeypatch.setattr(explain, "EXTRA_S", 600.0)
    monkeypatch.setattr(confirming, "SEARCH_S", 10.0)
