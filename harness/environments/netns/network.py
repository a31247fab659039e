"""Makes a bridge and the namespaces on it, finds them again by name and label, and removes them.

Everything is named after the run's tag: the bridge th<tag>, its veth ends th<tag>v<i>, namespaces th<tag>-<i>. The bridge's
alias is the label: the controller's identity and the run's id. The bridge is made first and removed last, so that a namespace
without one is always a leftover. A lock makes creating and labelling it one step for other processes. Where a firewall drops what
is forwarded (a Docker engine sets it so), a rule of the FORWARD chain accepts what stays on the bridge; the bridge's name in it
is its label.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from harness.environments.linux.labels import TAG_LENGTH
from harness.environments.linux.subnets import host
from harness.environments.real import mounts as mounted
from harness.environments.real.executor import ExecutorFailed, run_here

ALIAS = "themis"
_LOCK = Path("/run/themis-netns.lock")
_BRIDGE = re.compile(rf"^th[0-9a-f]{{{TAG_LENGTH}}}$")
_NAMESPACE = re.compile(rf"^(th[0-9a-f]{{{TAG_LENGTH}}})-\d+$")
_RULE = re.compile(rf"^-A FORWARD -i (th[0-9a-f]{{{TAG_LENGTH}}}) -o \1 ")
_MOUNT = re.compile(rf"^themis-(th[0-9a-f]{{{TAG_LENGTH}}})-\d+$")


class Bridge(msgspec.Struct, frozen=True):
    """A bridge of ours. label and run_id: as its alias says; empty when it has none."""

    name: str
    label: str = ""
    run_id: str = ""


def bridge_name(run_tag: str) -> str:
    """The bridge of the run with this tag; a prefix of the names of all else."""
    return f"th{run_tag}"


def namespace_name(run_tag: str, number: int) -> str:
    """The namespace of the number-th node, from 1."""
    return f"{bridge_name(run_tag)}-{number}"


def mount_name(run_tag: str, number: int) -> str:
    """What /proc/mounts calls the data directory of the number-th node, where that is a file system of its own."""
    return f"themis-{namespace_name(run_tag, number)}"


@contextlib.contextmanager
def making() -> Iterator[None]:
    """Inside, no other run on this machine takes an address range, and none takes a bridge that has no label yet for a leftover.
    Needs root."""
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create(run_tag: str, label: str, run_id: str, network: IPv4Network, count: int) -> None:
    """Makes the bridge with the first address of the range, and `count` namespaces on it with the next ones. Raises
    ExecutorFailed when it cannot; part of them may then exist.
    """
    bridge, width = bridge_name(run_tag), network.prefixlen
    lines = [
        f"addr add {host(network, 1)}/{width} dev {bridge}",
        f"link set {bridge} up",
    ]
    for number in range(1, count + 1):
        namespace, end = namespace_name(run_tag, number), f"{bridge}v{number}"
        lines += [
            f"netns add {namespace}",
            f"link add {end} type veth peer name eth0 netns {namespace}",
            f"link set {end} master {bridge} up",
        ]
    run_here(["ip", "link", "add", bridge, "type", "bridge"]).checked()
    # Not in the batch, where words are split at spaces, nor in the first command, which takes an alias and forgets it.
    run_here(["ip", "link", "set", bridge, "alias", f"{ALIAS} {label} {run_id}"[:255]]).checked()
    run_here(["ip", "-batch", "-"], stdin="\n".join(lines).encode()).checked()
    for number in range(1, count + 1):
        inside = ["link set lo up", f"addr add {host(network, number + 1)}/{width} dev eth0", "link set eth0 up"]
        argv = ["ip", "-n", namespace_name(run_tag, number), "-batch", "-"]
        run_here(argv, stdin="\n".join(inside).encode()).checked()
    if shutil.which("iptables"):
        run_here(["iptables", "-w", "5", "-I", "FORWARD", "1", *_accepting(bridge)]).checked()


def remove(run_tag: str) -> list[str]:
    """Removes the run's network, and returns in words what is still there. Processes inside must have ended."""
    bridge = bridge_name(run_tag)
    said: list[str] = []
    for argv, lines in removal(bridge, parts(bridge)):
        try:
            run_here(argv, stdin="\n".join(lines).encode()).checked()
        except ExecutorFailed as error:
            said.append(str(error))  # Matters only when something is still there.
    left = parts(bridge)
    words = [f"{what} {name}" for what, names in left.items() for name in names]
    return [f"still there: {', '.join(words)} ({'; '.join(said)})"] if words else []


def parts(bridge: str) -> dict[str, list[str]]:
    """What there is of the bridge's network now, by kind."""
    links = _links(("link", "show"))
    return {
        "link": [name for link in links if (name := link["ifname"]).startswith(f"{bridge}v")],
        "namespace": namespaces(bridge),
        "rule": [found for found in accepted() if found == bridge],
        "bridge": [link["ifname"] for link in links if link["ifname"] == bridge],
    }


def removal(bridge: str, found: Mapping[str, Sequence[str]]) -> list[tuple[list[str], list[str]]]:
    """The commands that remove the network, and their input; the bridge last.

    Links first: the kernel takes a namespace's own away some time after the namespace itself.
    """
    lines = [f"link delete {name}" for name in found["link"]]
    lines += [f"netns delete {name}" for name in found["namespace"]]
    commands = [(["ip", "-force", "-batch", "-"], lines)] if lines else []
    commands += [(["iptables", "-w", "5", "-D", "FORWARD", *_accepting(name)], []) for name in found["rule"]]
    commands += [(["ip", "link", "delete", name], []) for name in found["bridge"]]
    return commands


def bridges() -> list[Bridge]:
    """Every bridge of ours, whoever made it."""
    found = []
    for link in _links(("link", "show", "type", "bridge")):
        if _BRIDGE.match(link["ifname"]):
            words = link.get("ifalias", "").split(" ", 2)
            is_labelled = len(words) == 3 and words[0] == ALIAS
            found.append(Bridge(link["ifname"], *words[1:]) if is_labelled else Bridge(link["ifname"]))
    return found


def _links(question: Sequence[str]) -> list[dict[str, str]]:
    try:
        said = run_here(["ip", "-j", *question]).checked().text
    except ExecutorFailed:
        return []
    return [link for link in json.loads(said or "[]") if "ifname" in link]


def namespaces(bridge: str = "") -> list[str]:
    """The namespaces of ours, of this bridge or of all."""
    with contextlib.suppress(OSError):
        names = sorted(os.listdir("/run/netns"))
        return [name for name in names if (found := _NAMESPACE.match(name)) and bridge in ("", found[1])]
    return []


def bridge_of(namespace: str) -> str:
    """The name of the bridge that this namespace is connected to."""
    return namespace.partition("-")[0]


def accepted() -> list[str]:
    """The bridges that a rule of ours in the FORWARD chain accepts."""
    if not shutil.which("iptables"):
        return []
    try:
        said = run_here(["iptables", "-w", "5", "-S", "FORWARD"]).checked().text
    except ExecutorFailed:
        return []
    return [found[1] for line in said.splitlines() if (found := _RULE.match(line))]


def mounts(bridge: str = "") -> dict[str, tuple[str, Path]]:
    """Name -> (its bridge, where it is mounted), of the data directories that are file systems of their own."""
    found = {}
    for name, place, _ in mounted.read():
        if (match := _MOUNT.match(name)) and bridge in ("", match[1]):
            found[name] = (match[1], Path(place))
    return found


def mount(name: str, place: Path, size_mib: int) -> None:
    """Mounts an empty file system of that size at `place`. Raises ExecutorFailed."""
    place.mkdir(parents=True, exist_ok=True)
    run_here(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", name, str(place)]).checked()


def unmount(place: Path) -> None:
    """Makes `place` an ordinary directory with the same files. Raises ExecutorFailed or OSError."""
    kept = place.with_name(f"{place.name}.kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(place, kept, symlinks=True)
    run_here(["umount", str(place)]).checked()
    place.rmdir()
    kept.rename(place)


def _accepting(bridge: str) -> list[str]:
    return ["-i", bridge, "-o", bridge, "-j", "ACCEPT"]
