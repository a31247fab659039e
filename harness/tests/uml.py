"""A Linux kernel of its own for tests that need what this machine's lacks (sch_netem, ...): user-mode Linux, a process.

It has this machine's files as its root, read and written as they are, one processor, and no network but its own; what is
mounted, every namespace and every process of it is gone when it ends.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

KERNEL = "linux.uml"
SHIM = Path(__file__).with_name("uml_ptrace.cpp")
MODULES = Path("/usr/lib/uml/modules")
MEMORY_MIB = 1536
LEGACY = ("iptables", "iptables-restore", "iptables-save")
"""Its nf_tables knows no IPv4, so that the commands of the older interface are used."""

INIT = """#!/bin/sh
# The first process of the user-mode kernel. It mounts nothing over this machine's own files but below /run.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/modules/lib/modules /run/commands
ln -s {modules}/$(uname -r) /run/modules/lib/modules/
printf '#!/bin/sh\\nexec /sbin/modprobe -d /run/modules "$@"\\n' > /run/commands/load
chmod 755 /run/commands/load
echo /run/commands/load > /proc/sys/kernel/modprobe
for command in {legacy}; do ln -s /usr/sbin/iptables-legacy"${{command#iptables}}" /run/commands/$command; done
export PATH=/run/commands:$PATH
ip link set lo up
cd {directory}
({command}) > {output} 2>&1
echo $? > {status}
poweroff -f
"""


def run(argv: Sequence[str], scratch: Path, timeout_s: float) -> tuple[int, str]:
    """The exit code and the output of a command of this Python in such a kernel; it starts in the current directory.

    scratch: an empty directory. Fails when the kernel is not installed (.ci/linux-setup does it) or does not end in time.
    """
    kernel = shutil.which(KERNEL)
    assert kernel is not None, f"{KERNEL} is not installed: apt-get install user-mode-linux kmod"
    compiler = shutil.which("c++") or shutil.which("g++")
    assert compiler is not None, "a C++ compiler is needed to run user-mode Linux here: apt-get install g++"
    shim = scratch / "ptrace.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, SHIM], check=True)
    init, output, status = scratch / "init", scratch / "output", scratch / "status"
    init.write_text(
        INIT.format(
            modules=MODULES,
            legacy=" ".join(LEGACY),
            directory=shlex.quote(str(Path.cwd())),
            command=shlex.join([sys.executable, *argv]),
            output=shlex.quote(str(output)),
            status=shlex.quote(str(status)),
        )
    )
    init.chmod(0o755)
    arguments = [f"mem={MEMORY_MIB}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={init}"]
    console = scratch / "console"
    with (
        console.open("wb") as log,
        subprocess.Popen(
            [kernel, *arguments, "con=null", "con0=null,fd:1"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"LD_PRELOAD": str(shim)},
        ) as process,
    ):
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"not done after {timeout_s:g} s; it said:\n{_end(output)}\n{_end(console)}") from None
    assert status.exists(), f"the kernel ended before the command; it said:\n{_end(console)}\n{_end(output)}"
    return int(status.read_text()), output.read_text(errors="replace")


def _end(path: Path) -> str:
    return path.read_text(errors="replace")[-3000:] if path.exists() else "(nothing)"
