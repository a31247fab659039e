"""Which node made a connection: looked up in the kernel's table of sockets, and in the open files of processes.

The kernel is asked for the socket at the end that dials (sock_diag), which gives its inode. Where it does not answer that, the
inode is looked for in /proc/net/tcp (or tcp6, where the program uses IPv6 sockets for IPv4): 30 ms instead of 0.1 on a machine
with 6,000 sockets. The process that has the inode open is a node's when it, or the leader of its session, is the process that
was started for the node, or when it carries the node's label in its environment.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping

from harness.environments.local.link_proxies import OUTSIDE
from nemesis.capabilities import NodeId
from targets.target import Address

NODE = "THEMIS_NODE"
"""The label of a node's processes."""
_NETLINK_SOCK_DIAG, _DIAG_BY_FAMILY, _REQUEST = 4, 20, 1
"""Numbers of linux/sock_diag.h and linux/netlink.h."""
_DIAG_REQUEST = struct.Struct("=IHHIIBBBxI2s2s4s12x4s12xIQ")
_INODE = struct.Struct("=I")
_INODE_OFFSET = 84
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
        if inode := _asked(dialling, dialled):
            return self._owner(inode)
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


def _asked(local: Address, remote: Address) -> str:
    """The inode of the socket with these ends, as the kernel says; empty where it does not say."""
    ends = [address.port.to_bytes(2, "big") for address in (local, remote)]
    hosts = [socket.inet_aton(address.host) for address in (local, remote)]
    request = _DIAG_REQUEST.pack(
        *(_DIAG_REQUEST.size, _DIAG_BY_FAMILY, _REQUEST, 0, 0),  # The header: length, type, flags, sequence, port.
        *(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF),  # Family, protocol, nothing more, in any state.
        *(*ends, *hosts, 0, 0xFFFFFFFFFFFFFFFF),  # Its ends, on any interface, with any cookie.
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
            kernel.send(request)
            answer = kernel.recv(4096)
    except OSError:
        return ""
    if len(answer) < _INODE_OFFSET + _INODE.size or int.from_bytes(answer[4:6], sys.byteorder) != _DIAG_BY_FAMILY:
        return ""
    inode = _INODE.unpack_from(answer, _INODE_OFFSET)[0]
    return str(inode) if inode else ""


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
