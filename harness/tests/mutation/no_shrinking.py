"""A pytest plugin: a property that fails is not shrunk. That it fails says enough of a mutant, and shrinking takes minutes.
No example fails for its time: the machine may be busy."""

from __future__ import annotations

from hypothesis import Phase, settings


def pytest_configure() -> None:
    settings.register_profile("no-shrinking", phases=(Phase.explicit, Phase.generate), deadline=None)
    settings.load_profile("no-shrinking")
