"""Machines for tests: an sshd of its own in a network namespace of its own each. Network apart they are this machine: files
and processes are shared."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from harness.environments.linux import labels, subnets
from harness.environments.linux.executor import run_here
from harness.environments.netns import network
from harness.environments.processes import end

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
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def arguments(self, *more: str) -> list[str]:
        """What `themis test` needs to run on them."""
        return [
            "--env",
            "ssh",
            "--username",
            "root",
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
        problems = network.remove(self.tag)
        assert not problems, problems

    def _started(self, name: str, host_key: Path) -> subprocess.Popen[bytes]:
        settings = {
            "ListenAddress": self.addresses[name],
            "HostKey": host_key,
            "AuthorizedKeysFile": self.directory / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
        }
        config = self.directory / f"sshd-{name}.conf"
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        space = network.namespace_name(self.tag, self.names.index(name) + 1)
        with (self.directory / f"sshd-{name}.log").open("ab") as log:
            return subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{space}", "--", SSHD, "-D", "-e", "-f", str(config)],
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
