"""The environment `netns`: nodes are processes in network namespaces of this machine, joined by a bridge."""

from harness.environments.netns.environment import NetnsEnvironment

__all__ = ["NetnsEnvironment"]
