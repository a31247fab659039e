"""Environments by name. Each is imported only when it is used, so that a missing engine or library hurts nobody else."""

from __future__ import annotations

import importlib
from typing import cast

from harness.environments.base import EnvironmentClass

BUILT_IN = {
    "ssh": "harness.environments.ssh.environment:SshEnvironment",
    "sim": "harness.environments.sim.environment:SimEnvironment",
    "local": "harness.environments.local.environment:LocalEnvironment",
    "docker": "harness.environments.docker:DockerEnvironment",
    "netns": "harness.environments.netns:NetnsEnvironment",
}


def names() -> list[str]:
    """Every environment, sorted."""
    return sorted(BUILT_IN)


def find(name: str) -> EnvironmentClass:
    """The environment's class. Raises LookupError when there is none of that name."""
    module, _, attribute = BUILT_IN[name].partition(":")
    return cast(EnvironmentClass, getattr(importlib.import_module(module), attribute))
