"""What a machine has, as JSON on the standard output. Sent there as text and run as whom the node will run as, before anything
is uploaded.

    python3 -I - SETTINGS < examine.py

It changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib import metadata, util

TIMEKEEPERS = ("chronyd", "ntpd", "ntp-daemon", "phc2sys", "systemd-timesyn")
"""Programs that keep the clock, by the first 15 bytes of their processes' names: ntp-daemon is that of ntpd-rs."""
CAP_SYS_TIME = 25
"""The number of the capability: linux/capability.h."""
WHOLE_UID_MAP = ["0", "0", "4294967295"]
"""What the first user namespace maps; in others nobody may set the clock."""
COMMAND_TIMEOUT_S = 15


def said(argv: Sequence[str]) -> str:
    """The standard output of a command; empty when it failed."""
    try:
        ended = subprocess.run(argv, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.decode(errors="replace")


def modules(names: Iterable[str]) -> dict[str, str | None]:
    """Module -> its version; null where it is missing."""
    found: dict[str, str | None] = dict.fromkeys(names)
    for name in found:
        with contextlib.suppress(metadata.PackageNotFoundError):
            if util.find_spec(name) is not None:
                found[name] = metadata.version(name)
    return found


def interfaces() -> dict[str, str]:
    """IPv4 address -> the interface that has it."""
    found = {}
    for line in said(["ip", "-o", "-4", "addr", "show"]).splitlines():
        words = line.split()
        if len(words) > 3 and words[2] == "inet":
            found[words[3].partition("/")[0]] = words[1]
    return found


def own_qdisc(device: str) -> str:
    """The root qdisc that somebody has set on this interface; empty for the kernel's default."""
    for line in said(["tc", "qdisc", "show", "dev", device]).splitlines():
        words = line.split()
        if "root" in words and words[2] != "0:":
            return " ".join(words[1:3])
    return ""


def bound(address: str, port: int, kind: socket.SocketKind) -> str:
    """Why the port cannot be listened on; empty when it can."""
    with socket.socket(socket.AF_INET, kind) as tried:
        if kind == socket.SOCK_STREAM:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
            if kind == socket.SOCK_STREAM:
                tried.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def unsafe(directory: str) -> str:
    """Why this user's files cannot be kept below this directory: somebody else could change them, or they cannot be written.
    Empty when they can."""
    path, is_below_there = directory, False
    while True:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            path = os.path.dirname(path)
            continue
        except PermissionError:
            path = os.path.dirname(path)
            return f"{path} cannot be read"
        if stat.S_ISLNK(found.st_mode):
            return f"{path} is a symbolic link"
        if not stat.S_ISDIR(found.st_mode):
            return f"{path} is not a directory"
        if found.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to somebody else"
        # In a sticky directory, such as /tmp, nobody else can replace what exists; but anyone could make first what does not.
        if found.st_mode & 0o022 and not (found.st_mode & stat.S_ISVTX and is_below_there):
            return f"{path} can be written by others"
        if not is_below_there and not os.access(path, os.W_OK | os.X_OK):
            return f"{path} cannot be written"
        if path == "/":
            return ""
        path, is_below_there = os.path.dirname(path), True


def is_noexec(directory: str) -> bool:
    """Whether nothing below this directory can be executed or loaded as a compiled module, by the way it is mounted."""
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    return bool(os.statvfs(directory).f_flag & os.ST_NOEXEC)


def timekeepers() -> list[str]:
    """The programs that keep this machine's clock."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm") as file:
                    name = file.read().strip()
            except OSError:
                continue
            if name in TIMEKEEPERS:
                found.add(name)
    return sorted(found)


def may_set_clock() -> bool:
    """Whether this process may set the machine's clock; tried without setting it."""
    with open("/proc/self/status") as file:
        held = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    with open("/proc/self/uid_map") as file:
        return bool(held >> CAP_SYS_TIME & 1) and file.read().split() == WHOLE_UID_MAP


def boot_id() -> str:
    """The same for all that share one kernel."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def main() -> None:
    """Look at everything and print it."""
    settings = json.loads(sys.argv[1])
    is_linux = platform.system() == "Linux"
    addresses = interfaces()
    device = addresses.get(settings["address"], "")
    print(  # noqa: T201
        json.dumps(
            {
                "python": sys.executable,
                "abi": str(sysconfig.get_config_var("SOABI")),
                "machine": platform.machine(),
                "system": platform.system(),
                "modules": modules(settings["modules"]),
                "missing_tools": [name for name in settings["tools"] if shutil.which(name) is None],
                "features": said(["unshare", "--net", *settings["features_argv"]]).split(),
                "addresses": addresses,
                "device": device,
                "own_qdisc": own_qdisc(device) if device else "",
                "node_port": bound(settings["address"], settings["node_port"], socket.SOCK_STREAM),
                "probe_port": bound(settings["address"], settings["probe_port"], socket.SOCK_DGRAM),
                "unsafe": unsafe(settings["directory"]),
                "is_noexec": is_noexec(settings["directory"]),
                "timekeepers": timekeepers() if is_linux else [],
                "may_set_clock": is_linux and may_set_clock(),
                "boot_id": boot_id() if is_linux else "",
            }
        )
    )


if __name__ == "__main__":
    main()
