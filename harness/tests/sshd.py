"""Machines for tests: an sshd of its own in a network namespace of its own each, and users. Network apart they are this machine:
files, users and processes are shared."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.environments.linux import labels, subnets
from harness.environments.netns import network
from harness.environments.real.executor import run_here
from harness.environments.real.labelled_processes import end

SSHD = "/usr/sbin/sshd"
UP_TIMEOUT_S = 20.0


class Machines:
    """names: n1, n2, ... addresses: of each. directory: holds the user's key, the hosts' keys and known_hosts."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.names = tuple(f"n{number}" for number in range(1, count + 1))
        self.key = directory / "id_ed25519"
        self.known_hosts = directory / "known_hosts"
        self.tag = hashlib.sha256(f"{directory}{os.getpid()}".encode()).hexdigest()[: labels.TAG_LENGTH]
        self.addresses: dict[str, str] = {}
        self.addresses_v6: dict[str, str] = {}
        """After `up_v6`."""
        self.confinement: tuple[str, ...] = ()
        """What the sshds that start from now on are started by."""
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def arguments(self, *more: str, username: str = "root") -> list[str]:
        """What `themis test` needs to run on them."""
        return [
            "--env",
            "ssh",
            "--username",
            username,
            "--ssh-private-key",
            str(self.key),
            "--nodes",
            str(len(self.names)),
            *self.options(),
            *more,
        ]

    def options(self) -> list[str]:
        """The environment's options that say where the machines are."""
        hosts = ",".join(self.addresses.values())
        return [
            "-e",
            f"hosts={hosts}",
            "-e",
            f"known_hosts={self.known_hosts}",
            "-e",
            f"remote_directory={self.remote}",
        ]

    @property
    def remote(self) -> str:
        """Where the environment keeps its files on the machines."""
        return f"/var/lib/themis-test-{self.tag}"

    def inside(self, name: str, *argv: str) -> str:
        """What a command says that runs in the machine's network."""
        space = network.namespace_name(self.tag, self.names.index(name) + 1)
        return run_here(["nsenter", f"--net=/run/netns/{space}", "--", *argv]).checked(name).text

    def is_clean(self) -> bool:
        """Whether nothing of any run is on the machines."""
        kernel = "".join(
            self.inside(name, "iptables", "-S") + self.inside(name, "tc", "qdisc", "show", "dev", "eth0")
            for name in self.names
        )
        mounts = Path("/proc/self/mounts").read_text()
        return "THEMIS" not in kernel and "htb" not in kernel and self.remote not in mounts and not self.is_used()

    def is_used(self) -> bool:
        """Whether there are files of runs on the machines."""
        return os.path.exists(self.remote)

    def start(self, name: str) -> None:
        """Its sshd answers."""
        self._servers[name] = self._started(name, self.host_key(name))
        self._await(self.addresses[name])

    def stop(self, name: str) -> None:
        """Its sshd is gone; sessions live on."""
        server = self._servers.pop(name)
        end([server.pid])
        server.wait()

    def host_key(self, name: str) -> Path:
        """The file of its host key."""
        return self.directory / f"host-{name}"

    def know(self) -> None:
        """known_hosts holds the keys of all."""
        lines = []
        for name, address in self.addresses.items():
            kind, key = self.host_key(name).with_suffix(".pub").read_text().split()[:2]
            lines.append(f"{address} {kind} {key}\n")
        self.known_hosts.write_text("".join(lines))

    def up_v6(self) -> None:
        """They are reached by IPv6 too, known under those addresses as well."""
        prefix = f"fd{self.tag[:2]}:{self.tag[2:6]}::"
        run_here(["ip", "addr", "add", f"{prefix}1/64", "dev", network.bridge_name(self.tag), "nodad"]).checked()
        for number, name in enumerate(self.names, start=2):
            self.addresses_v6[name] = str(ipaddress.IPv6Address(f"{prefix}{number}"))
            self.inside(name, "ip", "addr", "add", f"{prefix}{number}/64", "dev", "eth0", "nodad")
            self.stop(name)
            self.start(name)
        with self.known_hosts.open("a") as file:
            for name, address in self.addresses_v6.items():
                file.write(f"{address} {' '.join(self.host_key(name).with_suffix('.pub').read_text().split()[:2])}\n")

    def rekey(self, name: str) -> None:
        """It has a new host key, as after an installation."""
        self.stop(name)
        self.host_key(name).unlink()
        keygen(self.host_key(name))
        self.start(name)

    def up(self) -> None:
        """All stand, known to the user and with the user's key let in."""
        keygen(self.key)
        (self.directory / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        Path("/run/sshd").mkdir(exist_ok=True)
        with network.making():
            subnet = subnets.choose("", subnets.routed(), int(self.tag, 16))
            network.create(self.tag, labels.controller(), "sshd-of-a-test", subnet, len(self.names))
        for number, name in enumerate(self.names, start=1):
            self.addresses[name] = str(subnets.host(subnet, number + 1))
            keygen(self.host_key(name))
        self.know()
        for name in self.names:
            self._servers[name] = self._started(name, self.host_key(name))
        for name in self.names:
            self._await(self.addresses[name])

    def down(self) -> None:
        """Nothing of them is left."""
        for name in list(self._servers):
            self.stop(name)
        # A session outlives its server, and stays where its client was killed and said no goodbye.
        for number in range(1, len(self.names) + 1):
            there = run_here(["ip", "netns", "pids", network.namespace_name(self.tag, number)])
            end([int(pid) for pid in there.text.split()])
        problems = network.remove(self.tag)
        assert not problems, problems

    def _started(self, name: str, host_key: Path) -> subprocess.Popen[bytes]:
        settings = {
            "HostKey": host_key,
            # The second is read as the user, who cannot read what is in this directory.
            "AuthorizedKeysFile": f"{self.directory / 'authorized_keys'} .ssh/authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
        }
        config = self.directory / f"sshd-{name}.conf"
        listening = [self.addresses[name], *filter(None, [self.addresses_v6.get(name)])]
        lines = [f"ListenAddress {address}" for address in listening]
        lines += [f"{key} {value}" for key, value in settings.items()]
        config.write_text("".join(f"{line}\n" for line in lines))
        space = network.namespace_name(self.tag, self.names.index(name) + 1)
        with (self.directory / f"sshd-{name}.log").open("ab") as log:
            return subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{space}", "--", *self.confinement, SSHD, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await(self, address: str) -> None:
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while True:
            try:
                socket.create_connection((address, 22), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline_s, f"no sshd at {address}"
                time.sleep(0.02)


class User:
    """A user of this machine who is not root, let in with the key of these machines. rules: lines of /etc/sudoers without the
    user's name. shell_files: name in the home directory -> text."""

    def __init__(
        self,
        made: Machines,
        rules: Sequence[str] = ("{user} ALL=(ALL) NOPASSWD: ALL",),
        shell: str = "/bin/bash",
        shell_files: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"themis-{made.tag}"
        self.home = Path(f"/home/{self.name}")
        self._sudoers = Path(f"/etc/sudoers.d/{self.name}")
        self._made = made
        self._rules = rules
        self._shell = shell
        self._shell_files = shell_files or {}

    def up(self) -> None:
        """The user can log in."""
        # Without a password but not locked: sshd lets nobody in who is.
        run_here(["useradd", "--create-home", "--password", "*", "--shell", self._shell, self.name]).checked()
        ssh = self.home / ".ssh"
        ssh.mkdir(mode=0o700)
        shutil.copy(self._made.key.with_suffix(".pub"), ssh / "authorized_keys")
        for name, text in self._shell_files.items():
            (self.home / name).write_text(text)
        run_here(["chown", "--recursive", f"{self.name}:", str(self.home)]).checked()
        if self._rules:
            # sudo passes over names with a dot: it is looked at before it counts.
            new = self._sudoers.with_suffix(".new")
            new.write_text("".join(f"{rule.format(user=self.name)}\n" for rule in self._rules))
            new.chmod(0o440)
            try:
                run_here(["visudo", "--check", "--file", str(new)]).checked()
                new.replace(self._sudoers)
            finally:
                new.unlink(missing_ok=True)

    def down(self) -> None:
        """There is no such user, and nothing of theirs. Idempotent."""
        self._sudoers.unlink(missing_ok=True)
        end(self.processes())
        run_here(["userdel", "--force", "--remove", self.name])
        for kept in ("/run/sudo/ts", "/var/lib/sudo/lectured"):
            Path(kept, self.name).unlink(missing_ok=True)
        with contextlib.suppress(KeyError):
            pytest.fail(f"the user {pwd.getpwnam(self.name).pw_name} is still there")
        assert not self.home.exists()

    def processes(self) -> list[int]:
        """The living processes that run as them."""
        try:
            uid = pwd.getpwnam(self.name).pw_uid
        except KeyError:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and entry.stat().st_uid == uid:
                    found.append(int(entry.name))
        return found

    def files(self) -> list[str]:
        """Everything of theirs where users may write, and everything in their home that was not there at first."""
        uid = pwd.getpwnam(self.name).pw_uid
        places = [self.home, "/tmp", "/var/tmp", "/var/lib", "/run", "/dev/shm"]
        found = run_here(["find", *map(str, places), "-xdev", "-uid", str(uid)]).text.split("\n")
        return sorted(set(filter(None, found)) | {str(path) for path in self.home.rglob("*")})


@contextlib.contextmanager
def user(made: Machines, **options: Any) -> Iterator[User]:
    """A user for the time of a test: see User."""
    found = User(made, **options)
    try:
        found.up()
        yield found
    finally:
        found.down()


def themis(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def in_background(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Run the command; what it says is not kept."""
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def awaited(is_so: Callable[[], bool], timeout_s: float, controller: subprocess.Popen[bytes] | None = None) -> None:
    """It is so; a controller that is given must live until then."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert controller is None or controller.poll() is None, "the run ended before"
        assert time.monotonic() < deadline_s, "it never was so"
        time.sleep(0.02)


def keygen(path: Path) -> None:
    """A new key pair is there."""
    run_here(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "themis-test", "-f", str(path)]).checked()


@contextlib.contextmanager
def machines(directory: Path, count: int = 5) -> Iterator[Machines]:
    """Machines that stand."""
    made = Machines(directory, count)
    try:
        made.up()
        yield made
    finally:
        made.down()
