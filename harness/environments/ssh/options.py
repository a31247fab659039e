"""Options of the environment `ssh`, and the machines that they name."""

from __future__ import annotations

import getpass
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.environments.linux import data_size
from harness.environments.linux.environment import PORT, PROBE_PORT
from nemesis.capabilities import NodeId

USER_KNOWN_HOSTS = "~/.ssh/known_hosts"
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,255}$")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$")
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+$")


class SshOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `ssh` (`--env-option NAME=VALUE`; the first five have flags of their own).

    username: empty: that of this process. private_key: a file; empty: those of the SSH agent and of ~/.ssh. port: of the
    SSH servers. accept_new: add unknown host keys to known_hosts; changed ones are refused all the same.
    allow_system_clock: clock faults move the machines' own clocks. known_hosts: a file in place of the user's and the
    system's. hosts: the machines of the nodes in order, comma separated, where nodes are not named after them: names or
    addresses, IPv6 as well. addresses: likewise, the IPv4 addresses under which the nodes see each other; empty: those that
    SSH reaches them under. as_root: by sudo where the user is not root; false: the nodes run as the user who logs in,
    without faults of the network.
    python: the interpreter there; empty: the first of the usual names that will do. remote_directory: what is uploaded
    and written there is below it. node_port (TCP) and probe_port (UDP): where nodes and their agents listen. data_mib:
    the size of each node's disk, which is then a file system of its own (tmpfs) so that it can be full; 0: the
    machine's own, which cannot. silence_s: a machine that hears nothing from the controller for so long ends its node
    and undoes its faults. messages: nodes log what they send and hear, to nodes/<n>/messages.jsonl (the latest 256 MiB).
    """

    username: str = ""
    private_key: str = ""
    port: int = 22
    accept_new: bool = False
    allow_system_clock: bool = False
    known_hosts: str = ""
    hosts: str = ""
    addresses: str = ""
    python: str = ""
    as_root: bool = True
    remote_directory: str = "/var/lib/themis"
    node_port: int = PORT
    probe_port: int = PROBE_PORT
    data_mib: int = 0
    connect_timeout_s: float = 10.0
    silence_s: float = 60.0
    messages: bool = False

    def __post_init__(self) -> None:
        if self.username and not _USERNAME.match(self.username):
            raise ValueError(f"username: {self.username!r} is no user's name")
        for name in ("port", "node_port", "probe_port"):
            if not 1 <= getattr(self, name) <= 65535:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 1 to 65535")
        for host in _listed(self.hosts):
            if not _HOST.match(host) and ":" not in _canonical(host):
                raise ValueError(f"hosts: {host!r} is no host name or address")
        for address in _listed(self.addresses):
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                raise ValueError(f"addresses: {address!r} is no IPv4 address") from None
        if self.python and not _PATH.match(self.python):
            raise ValueError(f"python: {self.python!r} is no absolute path")
        if not _PATH.match(self.remote_directory) or {"..", "."} & set(self.remote_directory.split("/")):
            raise ValueError(f"remote_directory: {self.remote_directory!r} is no absolute path")
        if not 1 <= self.connect_timeout_s <= 300:
            raise ValueError(f"connect_timeout_s is {self.connect_timeout_s:g}; it must be from 1 to 300")
        if not 30 <= self.silence_s <= 86_400:
            raise ValueError(f"silence_s is {self.silence_s:g}; it must be from 30 to 86400")
        data_size.checked_size(self.data_mib)
        if not self.as_root and (self.data_mib or self.allow_system_clock):
            raise ValueError(
                f"as_root is false; {'data_mib' if self.data_mib else 'allow_system_clock'} cannot be had without root"
            )


class Machine(msgspec.Struct, frozen=True):
    """How to get to a node's machine. It holds paths of keys and never what is in them."""

    node: NodeId
    host: str
    port: int
    username: str
    private_key: str
    known_hosts: tuple[str, ...]
    accept_new: bool
    timeout_s: float

    def __str__(self) -> str:
        place = f"{self.username}@{self.host if self.port == 22 else self.place}"
        return place if self.node == self.host else f"{self.node} ({place})"

    @property
    def place(self) -> str:
        """Host and port, as they are written together."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def machines(options: SshOptions, nodes: Sequence[NodeId]) -> dict[NodeId, Machine]:
    """Each node's machine. Raises ValueError when there are not as many as nodes, one twice, or a node has no proper name."""
    for node in nodes:
        if (
            ":" in node
        ):  # The node's name is part of Python's path on the machine, and colons separate the parts of that.
            raise ValueError(f"nodes: {node!r} is no host name; give addresses with hosts=... and a number of --nodes")
    hosts = [_canonical(host) for host in _listed(options.hosts)] or list(nodes)
    for name, found in (("hosts", hosts), ("addresses", _listed(options.addresses) or list(nodes))):
        if len(found) != len(nodes):
            raise ValueError(f"{name}: {len(found)} of them for {len(nodes)} nodes")
        if len(set(found)) != len(found):
            raise ValueError(f"{name}: one is named twice; a partition cannot separate two nodes on one machine")
    files = (options.known_hosts,) if options.known_hosts else (USER_KNOWN_HOSTS, SYSTEM_KNOWN_HOSTS)
    return {
        node: Machine(
            node=node,
            host=host,
            port=options.port,
            username=options.username or _own_name(),
            private_key=_absolute(options.private_key) if options.private_key else "",
            known_hosts=tuple(map(_absolute, files)),
            accept_new=options.accept_new,
            timeout_s=options.connect_timeout_s,
        )
        for node, host in zip(nodes, hosts, strict=True)
    }


def addresses(options: SshOptions, nodes: Sequence[NodeId]) -> dict[NodeId, str]:
    """The addresses that were given for the nodes; empty when none were."""
    return dict(zip(nodes, _listed(options.addresses), strict=False))


def _canonical(host: str) -> str:
    """An IPv6 address in the one spelling that known_hosts has; what is none, as it is, and empty where it has a colon."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        return ""


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ValueError("username: this user has no name on this machine; give one with --username") from None


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:
        raise ValueError(f"{path}: this user has no home on this machine; set HOME, or give whole paths") from None
