"""The tests of checkers compare explanations, and a busy machine must not cut one short."""

import pytest

from checkers.linearizability import explain


@pytest.fixture(autouse=True)
def explanations_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explanations take what they need; a test of the limit calls what has one."""
    monkeypatch.setattr(explain, "EXTRA_S", 600.0)
