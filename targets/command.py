"""The command line that starts a node of a CoreTarget; what targets/node_arguments.py parses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from targets.target import CORE_PORT, Place


def node_argv(
    target: str, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str
) -> Sequence[str]:
    """The command line for the node at `place`, which serves `interface`. Options that have their default value are left out."""
    argv = [place.python, "-m", "targets.node", "--target", target, "--id", place.node]
    argv += ["--listen", str(place.listen[CORE_PORT]), "--data-dir", place.data_dir, "--log-dir", place.log_dir]
    argv += ["--seed", place.seed, "--interface", interface]
    if place.is_rejoining:
        argv.append("--rejoin")
    for peer, ports in place.peers.items():
        argv += ["--peer", f"{peer}={ports[CORE_PORT]}"]
    defaults = msgspec.to_builtins(type(options)())
    for name, value in msgspec.to_builtins(options).items():
        if value != defaults[name]:
            argv += ["--option", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    for bug in sorted(bugs):
        argv += ["--bug", bug]
    return argv
