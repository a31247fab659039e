"""Which node made a connection: looked up in the kernel's table of sockets, and in the open files of processes.

The end that dials is a row of /proc/net/tcp (or tcp6, where the program uses IPv6 sockets for IPv4), which has the socket's inode;
the process that has the inode open is a node's when it, or the leader of its session, is the process that was started for the
node, or when it carries the node's label in its environment.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping

from harness.environments.local.link_proxies import OUTSIDE
from nemesis.capabilities import NodeId
from targets.target import Address

NODE = "THEMIS_NODE"
"""The label of a node's processes."""
LOOKS_MAX = 3
"""The kernel gives the table in pieces; a row may be missed when others come and go meanwhile."""
ESTABLISHED = "01"


class SocketOwners:
    """Looks up who has a socket. find_pids: node -> the process that was started for it, of those that live."""

    def __init__(self, run_id: str, find_pids: Callable[[], Mapping[NodeId, int]]) -> None:
        self._run_id = run_id
        self._find_pids = find_pids
        self._not_ours = os.getppid()
        """The controller, whose clients dial most of all."""

    def find_source(self, dialling: Address, dialled: Address) -> NodeId | None:
        """The node that has the dialling end, OUTSIDE when it is no node's, None when it is gone or nobody is seen to have it."""
        wanted = (_written(dialling), _written(dialled))
        for _ in range(LOOKS_MAX):
            for local, remote, _, inode in _rows():
                if (local[-13:], remote[-13:]) == wanted:
                    return None if inode == "0" else self._owner(inode)
        return None

    def bypasses(self, listening: Mapping[NodeId, list[Address]]) -> list[tuple[NodeId, NodeId, Address]]:
        """(source, destination, address) of each connection that a node has to where another one listens: past its links."""
        addresses = {_written(address): (node, address) for node, found in listening.items() for address in found}
        direct = {
            inode: addresses[remote[-13:]]
            for _, remote, state, inode in _rows()
            if state == ESTABLISHED and remote[-13:] in addresses
        }
        found = []
        for source, pid in sorted(self._find_pids().items()):
            for inode in _inodes(pid):
                if inode in direct and direct[inode][0] != source:
                    found.append((source, *direct[inode]))
        return found

    def _owner(self, inode: str) -> NodeId | None:
        pids = self._find_pids()
        for node, pid in pids.items():
            if inode in _inodes(pid):
                return node
        if inode in _inodes(self._not_ours):
            return OUTSIDE
        leaders = {pid: node for node, pid in pids.items()}
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and inode in _inodes(int(entry)):
                return self._node_of(int(entry), leaders)
        return None

    def _node_of(self, pid: int, leaders: Mapping[int, NodeId]) -> NodeId:
        with contextlib.suppress(OSError):
            if (leader := os.getsid(pid)) in leaders:
                return leaders[leader]
            with open(f"/proc/{pid}/environ", "rb") as file:
                found = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
            if found.get(b"THEMIS_RUN", b"").decode(errors="replace") == self._run_id:
                return found.get(NODE.encode(), b"").decode(errors="replace")
        return OUTSIDE


def _rows() -> Iterator[tuple[str, str, str, str]]:
    """(local end, remote end, state, inode) of every TCP socket, as the kernel writes them."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as file:
            next(file, None)
            for line in file:
                fields = line.split()
                yield fields[1], fields[2], fields[3], fields[9]


def _written(address: Address) -> str:
    """As the kernel writes the end of a connection; the last 13 characters also of an IPv6 socket that is used for IPv4."""
    host = int.from_bytes(socket.inet_aton(address.host), sys.byteorder)
    return f"{host:08X}:{address.port:04X}"


def _inodes(pid: int) -> set[str]:
    """The sockets that a process has open; none where it is gone, or another user's."""
    found = set()
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            with contextlib.suppress(OSError):
                link = os.readlink(f"{folder}/{descriptor}")
                if link.startswith("socket:["):
                    found.add(link[8:-1])
    return found
