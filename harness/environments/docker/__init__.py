"""The environment `docker`: nodes are containers on a network of their own."""

from harness.environments.docker.environment import DockerEnvironment

__all__ = ["DockerEnvironment"]
