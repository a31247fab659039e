"""Private address ranges that nobody on this machine uses yet."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

POOL = IPv4Network("10.213.0.0/16")
"""Runs take /24 ranges out of this one, which neither Docker (172.17.0.0/12, 192.168.0.0/16) nor most sites use."""
HOSTS_MIN = 16


class RangeInUse(Exception):
    """The range that was asked for overlaps another, or none is left."""


def parse(text: str) -> IPv4Network:
    """A range such as 10.213.7.0/24. Raises ValueError with the rule that it breaks."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"subnet: {text!r} is not an IPv4 range such as 10.213.7.0/24 ({error})") from None
    if not network.is_private or network.num_addresses < HOSTS_MIN:
        raise ValueError(f"subnet: {text} is not a private range with at least {HOSTS_MIN} addresses")
    return network


def routed() -> list[IPv4Network]:
    """The ranges that this machine has routes to, the default route left out."""
    found = []
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        fields = line.split()
        address, mask = (socket.inet_ntoa(struct.pack("=I", int(fields[i], 16))) for i in (1, 7))
        if mask != "0.0.0.0":
            found.append(IPv4Network(f"{address}/{mask}"))
    return found


def choose(wanted: str, used: Iterable[IPv4Network], start: int) -> IPv4Network:
    """`wanted`, or where that is empty the first free range from the start-th on. Raises RangeInUse."""
    used = list(used)
    if wanted:
        network = parse(wanted)
        clashes = [other for other in used if network.overlaps(other)]
        if clashes:
            raise RangeInUse(f"the address range {network} overlaps {clashes[0]}, which is in use on this machine")
        return network
    ranges = list(POOL.subnets(new_prefix=24))
    for index in range(len(ranges)):
        network = ranges[(start + index) % len(ranges)]
        if not any(network.overlaps(other) for other in used):
            return network
    raise RangeInUse(f"every range of {POOL} is in use on this machine")


def host(network: IPv4Network, number: int) -> IPv4Address:
    """The number-th address of the range, from 1."""
    return network.network_address + number
