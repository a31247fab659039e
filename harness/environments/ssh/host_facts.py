"""What the machines of a run have, and why some of it is not enough. Pure but for `examine`, which asks them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harness.environments.linux import kernel_features
from harness.environments.real.executor import Executor, ExecutorFailed, Ran
from harness.environments.ssh import bundle
from harness.environments.ssh.options import Machine, SshOptions
from nemesis.capabilities import NodeId

SCRIPT = Path(__file__).with_name("examine.py")
PYTHON_MIN = (3, 11)
ASK_VERSION = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")
"""Tried in this order: what the machine takes for its Python comes first."""
MODULES: Mapping[str, str] = {"msgspec": "0.19", "aiohttp": "3.11", "uvloop": "0.20"}
"""What a node imports, with the least version, as setup.cfg has it."""
TOOLS: Mapping[str, str] = {"iptables": "iptables", "tc": "iproute2", "ip": "iproute2", "unshare": "util-linux"}
"""Command -> the package that has it."""
EXAMINE_TIMEOUT_S = 30.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SUDO = ("sudo", "-n", "--")
PLAIN = ("env", f"PATH={PATH}", "LC_ALL=C")


class Facts(msgspec.Struct, frozen=True):
    """One machine. abi: what compiled modules must be made for. modules: name -> version, None
    where it is missing. features: as linux.features names them. device: the interface of the node's address, "" when
    no interface has it. own_qdisc: what shapes that interface already. node_port, probe_port, unsafe: why it cannot be
    used, "" when it can. is_noexec: where files are kept, no compiled module can be loaded. timekeepers: programs that would
    set the clock back. boot_id: the same for all that share a kernel, and with it one clock. sudo: the words that make a
    root. is_root: whether the node runs as root."""

    python: str
    abi: str
    machine: str
    system: str
    modules: Mapping[str, str | None]
    missing_tools: tuple[str, ...]
    features: frozenset[str]
    addresses: Mapping[str, str]
    device: str
    own_qdisc: str
    node_port: str
    probe_port: str
    unsafe: str
    is_noexec: bool
    timekeepers: tuple[str, ...]
    may_set_clock: bool
    boot_id: str
    sudo: tuple[str, ...] = ()
    is_root: bool = True

    @property
    def needs_bundle(self) -> bool:
        """Whether what a node imports is not all there."""
        return any(not _is_enough(self.modules.get(name), least) for name, least in MODULES.items())

    @property
    def abilities(self) -> frozenset[str]:
        """Its features without those that would replace the shaping which somebody else set on the interface."""
        return self.features - {"htb", "netem"} if self.own_qdisc else self.features

    def lacking(self) -> list[str]:
        """In words, what faults need and the machine has not."""
        if not self.is_root:
            return ["the nodes do not run as root there (as_root=false), which faults of the network need"]
        found = [f"{name} is missing (apt-get install {TOOLS[name]})" for name in self.missing_tools]
        if "iptables" not in self.missing_tools and "unshare" not in self.missing_tools and "drop" not in self.features:
            found.append("iptables cannot drop packets: its kernel lacks netfilter, or this is a container without it")
        if self.own_qdisc:
            found.append(f"{self.device} has a qdisc of its own ({self.own_qdisc}), which is left alone")
        elif "tc" not in self.missing_tools and "netem" not in self.features:
            found.append("its kernel has no sch_netem (slow, duplicate, reorder, corrupt)")
        return found


class Unfit(Exception):
    """The machine cannot run a node; the message says what is missing and what to do."""


def examine(executor: Executor, machine: Machine, address: str, options: SshOptions) -> Facts:
    """What the machine has. executor: as the user who logs in. Raises Unfit or ExecutorFailed."""
    node = machine.node
    sudo = _root(executor, machine) if options.as_root else ()
    settings = {
        "address": address,
        "node_port": options.node_port,
        "probe_port": options.probe_port,
        "directory": options.remote_directory,
        "modules": sorted(MODULES),
        "tools": sorted(TOOLS),
        "features_argv": kernel_features.ARGV,
    }
    script = SCRIPT.read_bytes()
    old: list[str] = []
    for python in (options.python,) if options.python else PYTHONS:
        ran = executor.run(node, [*sudo, *PLAIN, python, "-c", ASK_VERSION])
        if ran.exit_code:
            if ran.exit_code not in (126, 127):
                old.append(f"{python} failed: {_last_line(ran)}")
            continue
        if _numbers(ran.text.strip()) < PYTHON_MIN:
            old.append(f"{python} is {ran.text.strip()[:40]}")
            continue
        argv = [*sudo, *PLAIN, python, "-I", "-", json.dumps(settings)]
        ran = executor.run(node, argv, stdin=script, timeout_s=EXAMINE_TIMEOUT_S).checked(str(machine))
        try:
            facts = msgspec.json.decode(ran.stdout, type=Facts)
        except msgspec.DecodeError as error:
            raise Unfit(f"its answer about itself cannot be read: {error}") from None
        return msgspec.structs.replace(facts, sudo=sudo, is_root=options.as_root)
    found = f": {'; '.join(old)}" if old else ""
    wanted = options.python or "Python"
    least = ".".join(map(str, PYTHON_MIN))
    raise Unfit(
        f"there is no {wanted} of at least {least}{found}. Install one (Debian 12: apt-get install python3), or name it "
        "with --env-option python=/path"
    )


def unfitness(facts: Facts, options: SshOptions, address: str) -> list[str]:
    """In words, why no node can run there; empty when one can."""
    found = []
    if facts.system != "Linux":
        found.append(f"it runs {facts.system}; nodes need Linux")
    if facts.needs_bundle and (facts.abi, facts.machine) != bundle.platform():
        lacking = [f"{name}>={least}" for name, least in MODULES.items() if not _is_enough(facts.modules[name], least)]
        found.append(
            f"{facts.python} lacks {', '.join(lacking)}, and what is installed here is for "
            f"{' on '.join(bundle.platform())} and not for {facts.abi} on {facts.machine}: run `{facts.python} -m pip "
            f"install {' '.join(repr(name) for name in lacking)}` there"
        )
    if not facts.device and "ip" not in facts.missing_tools:
        found.append(
            f"no interface of it has the address {address}; it has {', '.join(sorted(facts.addresses)) or 'none'}: give "
            "the nodes' own with --env-option addresses=..."
        )
    else:
        for name, why in (("node_port", facts.node_port), ("probe_port", facts.probe_port)):
            if why:
                port = getattr(options, name)
                found.append(f"port {port} of it cannot be used ({why}): choose another with --env-option {name}=...")
    if facts.unsafe:
        found.append(
            f"{options.remote_directory} cannot hold what the nodes run, for {facts.unsafe}: choose another with "
            "--env-option remote_directory=..."
        )
    elif facts.is_noexec and facts.needs_bundle:
        found.append(
            f"{options.remote_directory} is mounted noexec, so that the modules that {facts.python} lacks cannot be loaded from "
            "there: choose another with --env-option remote_directory=..., or install them for it: "
            f"{' '.join(MODULES)}"
        )
    if options.allow_system_clock and not facts.may_set_clock:
        found.append(
            "its clock cannot be set: this needs root, and in a container the capability SYS_TIME; leave --allow-system-clock "
            "out, and clock faults move the nodes' own clocks alone"
        )
    if options.allow_system_clock and facts.timekeepers:
        found.append(
            f"{' and '.join(facts.timekeepers)} would set the clock back during a clock fault: stop it for the run, or "
            "leave --allow-system-clock out"
        )
    return found


def together(found: Mapping[NodeId, Facts]) -> frozenset[str]:
    """The features that every machine has."""
    sets = [facts.abilities for facts in found.values()]
    return frozenset.intersection(*sets) if sets else frozenset()


def _root(executor: Executor, machine: Machine) -> tuple[str, ...]:
    """The words before a command that make it run as root: none for root. Raises Unfit."""
    user = machine.username
    otherwise = (
        "or log in as root (--username root), or run the nodes without root, which rules faults of the network out "
        "(--env-option as_root=false --env-option remote_directory=... in a directory of that user)"
    )
    who = executor.run(machine.node, ["id", "-u"]).checked(str(machine))
    if who.text.strip() == "0":
        return ()
    # What is run later: a sudo that allows some commands alone is not enough, nor one that makes somebody else of the user.
    tried = executor.run(machine.node, [*SUDO, *PLAIN, "id", "-u"])
    if tried.exit_code == 0 and tried.text.strip() == "0":
        return SUDO
    if tried.exit_code == 127:
        raise Unfit(f"{user} is not root, and there is no sudo: install it, {otherwise}")
    said = _last_line(tried)
    if "tty" in said:
        rule, why = f"Defaults:{user} !requiretty", "Allow it without a terminal"
    else:
        rule, why = f"{user} ALL=(ALL) NOPASSWD: ALL", "Allow it without a password"
    raise Unfit(
        f"{user} is not root, and `sudo -n` says: {said}. {why} (`{rule}` in a file below /etc/sudoers.d, which `visudo -c` "
        f"examines), {otherwise}"
    )


def _last_line(ran: Ran) -> str:
    lines: Sequence[str] = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"exit status {ran.exit_code}"


def _is_enough(found: str | None, least: str) -> bool:
    return found is not None and _numbers(found) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


__all__ = ["ExecutorFailed", "Facts", "Unfit", "examine", "together", "unfitness"]
