"""`themis cluster`: keep a cluster running, ask it with curl, and break it from another terminal."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live

from harness import notation
from harness.cli import options
from harness.cli.options import JSON
from harness.cli.reporting import check_place
from harness.cluster import folder, wording
from harness.cluster.control import Command, Listener, ask
from harness.cluster.standing import Settings, Standing
from harness.errors import Interrupted, UsageError, unknown_name
from harness.report.summary import counted
from harness.run.interruption import SIGNALS
from harness.run.plan import find_target
from harness.spec import typed_options
from targets.target import CoreTarget

NAME = click.option("--name", default="default", show_default=True, help="Which cluster, where there are several.")
REFRESH_S = 0.5


@click.group()
def cluster() -> None:
    """A cluster that stands: `up` keeps it running in this terminal, the other commands work on it from another one.

    \b
    Example:
      themis cluster up --target raft --nodes 3 --port 5000
      themis cluster status --watch
      themis cluster kill n1
    """


@cluster.command()
@click.option("--target", default="raft", show_default=True, help="What to run: a name, or package.module:Name.")
@click.option("--target-option", "-o", multiple=True, metavar="NAME=VALUE", help="An option of the target; repeatable.")
@click.option("--bug", multiple=True, help="Plant this bug of the target; repeatable.")
@click.option("--nodes", default="3", show_default=True, help="How many, or their names, comma separated.")
@click.option("--env", type=click.Choice(["local"]), default="local", show_default=True, help="Where nodes run.")
@click.option("--port", type=int, default=5000, show_default=True, help="Of the first node; the others have the next.")
@click.option(
    "--interface", default=None, help="What clients may ask of it. Default: one with routes of its own, else kv."
)
@click.option(
    "--seed", type=click.IntRange(0), default=None, help="Decides the nodes' own randomness. Default: a fresh one."
)
@NAME
def up(
    target: str,
    target_option: tuple[str, ...],
    bug: tuple[str, ...],
    nodes: str,
    env: str,
    port: int,
    interface: str | None,
    seed: int | None,
    name: str,
) -> int:
    """Start a cluster, print how to ask it, and keep it running until Ctrl-C or `themis cluster down`.

    Nodes listen on loopback alone. Any node takes requests of clients: it passes on what another node must serve. Data and logs
    are in a folder of the cluster's own, and go with it.

    \b
    Exit codes: 0 when it was told to end; 254 when it could not be started as asked; 255 when a node did not come up.

    \b
    Example:
      themis cluster up --target raft --nodes 3 --port 5000
    """
    settings = _settings(target, target_option, bug, notation.node_names(nodes), port, interface, seed, name)
    path = folder.socket_of(name)
    with folder.held(name) as directory:
        standing = Standing(settings, directory)
        answer_down: Callable[[], None] | None = None
        listener = Listener(path)
        try:
            with contextlib.suppress(Interrupted):
                click.echo(f"starting {counted(len(settings.nodes), 'node')} of {settings.target.name} ...")
                standing.up()
                for text in _welcome(settings, standing):
                    options.echo(text)
                answer_down = standing.serve(listener, options.echo)
        finally:
            with _deaf():
                listener.close()
                standing.down()
        click.echo(f"the cluster {name!r} is down; nothing is left of it")
        if answer_down is not None:
            answer_down()
    return 0


def _settings(
    target_name: str,
    target_options: tuple[str, ...],
    bugs: tuple[str, ...],
    nodes: tuple[str, ...],
    port: int,
    interface: str | None,
    seed: int | None,
    name: str,
) -> Settings:
    target = find_target(target_name)
    if not isinstance(target, CoreTarget):
        raise UsageError(
            f"--target {target_name}: it is a program outside the project; clusters are made of our own nodes"
        )
    for bug in bugs:
        if bug not in target.bugs:
            raise unknown_name(f"bug of {target_name}", bug, target.bugs)
    known = target.interfaces
    # Routes of a target's own are there for people: the interface that has them comes first.
    spoken = [each for each in sorted(known) if target.formats(each).clients]
    usual = spoken or sorted(known)
    chosen = interface or ("kv" if "kv" in usual else usual[0])
    if chosen not in known:
        raise unknown_name(f"interface of {target_name}", chosen, known)
    return Settings(
        name=name,
        target=target,
        options=typed_options(f"target {target_name}", options.pairs("-o", target_options), target.option_type),
        bugs=frozenset(bugs),
        nodes=nodes,
        interface=chosen,
        port=port,
        seed=options.fresh_seed() if seed is None else seed,
    )


def _welcome(settings: Settings, standing: Standing) -> list[str]:
    routes = settings.target.formats(settings.interface).clients
    ours = "" if settings.name == "default" else f" --name {settings.name}"
    return [
        f"the cluster {settings.name!r} is up: "
        + ", ".join(f"{node} on {address}" for node, address in standing.addresses().items()),
        "",
        *(f"  {text}" for text in wording.curl_lines(settings.interface, routes, standing.addresses())),
        "",
        "from another terminal:",
        f"  themis cluster status --watch{ours}",
        f"  themis cluster kill {settings.nodes[0]}{ours}",
        f"  themis cluster down{ours}",
    ]


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Inside, no further Ctrl-C leaves a node behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@cluster.command()
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@JSON
@NAME
def status(watch: bool, as_json: bool, name: str) -> int:
    """Every node with its process, role, term or ballot, leader, log and commit index.

    \b
    Example:
      themis cluster status --watch
    """
    if watch and as_json:
        raise UsageError("--watch is for people: leave --json out")
    answer = ask(name, Command("status"))
    if as_json:
        options.echo_json(msgspec.to_builtins(answer.nodes))
        return 0
    console = Console(width=None if Console().is_terminal else 200)
    if not watch:
        console.print(wording.table(answer.nodes))
        return 0
    with contextlib.suppress(Interrupted), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(wording.table(ask(name, Command("status")).nodes), refresh=True)
            time.sleep(REFRESH_S)
    return 0


def _said(name: str, command: Command) -> int:
    options.echo(ask(name, command).said)
    return 0


def _on_nodes(verb: Any, text: str, *, is_required: bool) -> click.Command:
    """A command that names nodes."""

    @click.argument("nodes", nargs=-1, required=is_required)
    @NAME
    def command(nodes: tuple[str, ...], name: str) -> int:
        named = tuple(part for node in nodes for part in node.split(",") if part)
        return _said(name, Command(verb, named))

    return click.command(verb, help=text)(command)


cluster.add_command(
    _on_nodes("kill", "Kill these nodes, as by `kill -9`. Example: themis cluster kill n1", is_required=True)
)
cluster.add_command(
    _on_nodes("pause", "Stop these nodes, as by SIGSTOP. Example: themis cluster pause n2", is_required=True)
)
cluster.add_command(
    _on_nodes(
        "resume",
        "Let paused nodes go on, and start killed ones again on the data they had: these, or all. "
        "Example: themis cluster resume",
        is_required=False,
    )
)
cluster.add_command(
    _on_nodes(
        "partition",
        "Cut these nodes off from all others, in both directions; the leader when none is named. "
        "Example: themis cluster partition n1 n2",
        is_required=False,
    )
)

cluster.add_command(
    _on_nodes(
        "add",
        "Make this node a member: it learns the log, and votes once it has caught up. A cluster with spare nodes is started with "
        "`-o voters=3 --nodes 5`. Example: themis cluster add n4",
        is_required=True,
    )
)
cluster.add_command(
    _on_nodes(
        "remove",
        "End this node's membership; refused, with the reason, where the cluster would lose its quorum. "
        "Example: themis cluster remove n4",
        is_required=True,
    )
)
cluster.add_command(
    _on_nodes(
        "replace",
        "Kill this node and start it with an empty disk: it comes back as a new member. Example: themis cluster replace n2",
        is_required=True,
    )
)

cluster.add_command(
    _on_nodes(
        "transfer",
        "Let this node lead: the leader lets it catch up, and steps down. Example: themis cluster transfer n2",
        is_required=True,
    )
)


@cluster.command()
@NAME
def heal(name: str) -> int:
    """Every link between nodes carries messages again.

    \b
    Example:
      themis cluster heal
    """
    return _said(name, Command("heal"))


@cluster.command()
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="The file to write. Default: NAME.backup in this folder.",
)
@NAME
def backup(to: Path | None, name: str) -> int:
    """Save the cluster's data in a file, while it runs: all that was acknowledged before, at one moment (docs/backup.md).

    raft and paxos need a leader, and gossip an answer of every node.

    \b
    Exit codes: 0 when the file is whole; 254 when there is no backup, with the reason.

    \b
    Example:
      themis cluster backup --to monday.backup
    """
    path = check_place(to or Path(f"{name}.backup")).absolute()
    return _said(name, Command("backup", path=str(path)))


@cluster.command()
@click.argument("file", type=click.Path(path_type=Path))
@NAME
def restore(file: Path, name: str) -> int:
    """Give the cluster the data of a backup: every node is killed, and a new cluster begins with what the file holds. What was
    acknowledged after the backup is gone.

    \b
    Exit codes: 0 when the new cluster answers; 254 for a file that is damaged or of another target, and nothing was done then.

    \b
    Example:
      themis cluster restore monday.backup
    """
    return _said(name, Command("restore", path=str(file.absolute())))


@cluster.command()
@NAME
def down(name: str) -> int:
    """End the cluster; returns when nothing is left of it.

    \b
    Example:
      themis cluster down
    """
    return _said(name, Command("down"))
