"""The command line of a node: what it is told when it starts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from targets import registry, secret
from targets.target import Address, CoreTarget


class Settings(msgspec.Struct, frozen=True):
    """What one node is told when it starts."""

    target: CoreTarget
    node: str
    listen: Address
    peers: Mapping[str, Address]
    data_dir: Path
    log_dir: Path | None
    options: msgspec.Struct
    bugs: frozenset[str]
    seed: str
    interface: str
    is_rejoining: bool = False
    """Its data was lost: where the disk is empty, it comes back as a new member."""
    secret: str | None = None
    """The run's secret; None: nobody may move its clock, and it has no peers."""


class Refusal(Exception):
    """The node cannot start; the message says what is wrong."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as every other refusal is said."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message} (--help shows the arguments)")


def parse(arguments: Sequence[str]) -> Settings:
    """The settings that a command line holds. Raises Refusal."""
    parser = _Parser(
        prog="themis node",
        description="Run one node of a target in the foreground.",
        epilog="example: python -m targets.node --target raft --id n1 --listen 127.0.0.1:9001 "
        "--peer n2=127.0.0.1:9002 --peer n3=127.0.0.1:9003 --data-dir /tmp/n1",
    )
    parser.add_argument("--target", required=True, help="a target's name, or package.module:Name")
    parser.add_argument("--id", required=True, dest="node", help="this node's name, such as n1")
    parser.add_argument("--listen", required=True, help="host:port to bind")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=HOST:PORT", help="how to reach another node"
    )
    parser.add_argument("--interface", default="kv", help="what clients may ask of it, and their route")
    parser.add_argument("--data-dir", required=True, type=Path, help="holds the write-ahead log")
    parser.add_argument(
        "--rejoin", action="store_true", help="the data of this node was lost: come back as a new member of the cluster"
    )
    parser.add_argument("--log-dir", type=Path, help="gets node.log and trace.jsonl; without it the log goes to stderr")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the target")
    parser.add_argument("--bug", action="append", default=[], metavar="NAME", help="a planted bug of the target")
    parser.add_argument("--seed", default="0", help="of the node's own randomness")
    given = parser.parse_args(arguments)
    target = _target(given.target)
    unknown = sorted(set(given.bug) - set(target.bugs))
    if unknown:
        raise Refusal(f"--bug {unknown[0]}: {target.name} has {', '.join(sorted(target.bugs)) or 'no bugs'}")
    if given.interface not in target.interfaces:
        raise Refusal(f"--interface {given.interface}: {target.name} has {', '.join(sorted(target.interfaces))}")
    peers = dict(_named("--peer", text) for text in given.peer)
    settings = Settings(
        target=target,
        node=given.node,
        listen=_address("--listen", given.listen),
        peers={name: _address("--peer", text) for name, text in peers.items()},
        data_dir=given.data_dir,
        log_dir=given.log_dir,
        options=parse_options(target, dict(_named("--option", text) for text in given.option)),
        bugs=frozenset(given.bug),
        seed=given.seed,
        interface=given.interface,
        is_rejoining=given.rejoin,
    )
    try:
        shared = secret.taken(os.environ)
        if peers and shared is None:
            raise secret.missing()
    except secret.BadSecret as error:
        raise Refusal(str(error)) from None
    return msgspec.structs.replace(settings, secret=shared)


def parse_options(target: CoreTarget, values: Mapping[str, str]) -> msgspec.Struct:
    """The target's typed options from text. Raises Refusal for a misspelt or ill-typed one."""
    known = {field.encode_name: field for field in msgspec.structs.fields(target.option_type)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise Refusal(f"--option {unknown[0]}: {target.name} has {', '.join(sorted(known)) or 'no options'}")
    try:
        return msgspec.convert(dict(values), target.option_type, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(f"--option: {error}") from None


def _target(name: str) -> CoreTarget:
    try:
        target = registry.find(name)
    except LookupError:
        raise Refusal(f"--target {name}: known are {', '.join(registry.names())}") from None
    except (ImportError, ValueError) as error:
        raise Refusal(f"--target {name}: {error}") from None
    if not isinstance(target, CoreTarget):
        raise Refusal(f"--target {name}: it is a program of its own and has no core that a node could run")
    return target


def _named(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Refusal(f"{option} {text}: expected NAME=VALUE")
    return name, value


def _address(option: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and len(port) <= len("65535") and 0 < int(port) < 65536):
        raise Refusal(f"{option} {text}: expected host:port")
    return Address(host.strip("[]"), int(port))
