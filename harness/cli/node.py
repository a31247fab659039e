"""`themis node`: one node by hand."""

from __future__ import annotations

import sys

import click

from targets.node import main as node_main


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def node(arguments: tuple[str, ...]) -> int:
    """One node of a target as a foreground process: what the harness starts five of.

    \b
    Example:
      themis node raft --id n1 --listen 127.0.0.1:9001 --data-dir /tmp/n1 --interface lock
    """
    given = list(arguments)
    if given and not given[0].startswith("-"):
        given[:1] = ["--target", given[0]]
    sys.stdout.flush()
    return node_main(given)
