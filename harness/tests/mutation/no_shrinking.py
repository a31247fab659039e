"""A pytest plugin: a property that fails is not shrunk. That it fails says enough of a mutant, and shrinking takes minutes."""

from __future__ import annotations

from hypothesis import Phase, settings


def pytest_configure() -> None:
    settings.register_profile("no-shrinking", phases=(Phase.explicit, Phase.generate))
    settings.load_profile("no-shrinking")
