"""A connection to a machine: the host key checked, the user let in by key. Whatever is wrong is said with what to do about it.

Host keys are looked up in known_hosts as OpenSSH does. An unknown one is refused unless `accept_new`, which adds it; a key
other than the known one is refused always. Users are let in by key alone: no password is asked for, sent or kept.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from paramiko.ssh_exception import (
    AuthenticationException,
    BadHostKeyException,
    PasswordRequiredException,
    SSHException,
)

from harness.environments.base import EnvironmentUnavailable
from harness.environments.ssh.options import Machine

KEEPALIVE_S = 10
_adding = threading.Lock()


class _UnknownHostKey(SSHException):
    """The host has no key in known_hosts."""

    def __init__(self, name: str, key: paramiko.PKey) -> None:
        super().__init__(f"unknown host key of {name}")
        self.key = key


class _NewKeys(paramiko.MissingHostKeyPolicy):
    """What to do about a host that has no key in known_hosts."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Add it, or raise _UnknownHostKey."""
        if not self._machine.accept_new:
            raise _UnknownHostKey(hostname, key)
        path = Path(self._machine.known_hosts[0])
        with _adding:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "rb+") as file:
                held = file.read()
                line = f"{hostname} {key.get_name()} {key.get_base64()}\n".encode()
                file.write(line if not held or held.endswith(b"\n") else b"\n" + line)


def private_key(path: str) -> paramiko.PKey | None:
    """The key in this file; None for an empty path. Raises EnvironmentUnavailable."""
    if not path:
        return None
    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise EnvironmentUnavailable(
            f"the private key {path} does not exist; make one with `ssh-keygen -t ed25519 -f {path}` and let it in with "
            "`ssh-copy-id`, or name another with --ssh-private-key"
        ) from None
    except OSError as error:
        raise EnvironmentUnavailable(f"the private key {path} cannot be read: {error.strerror or error}") from None
    except (PasswordRequiredException, TypeError):
        raise EnvironmentUnavailable(
            f"the private key {path} is protected by a passphrase: load it with `ssh-add {path}` and leave "
            "--ssh-private-key out, so that the SSH agent is asked"
        ) from None
    except (SSHException, ValueError) as error:
        raise EnvironmentUnavailable(f"{path} holds no private key that can be used: {error}") from None


def connect(machine: Machine, key: paramiko.PKey | None) -> paramiko.SSHClient:
    """An open connection, host and user both known. key: None for those of the SSH agent and of ~/.ssh.

    Raises EnvironmentUnavailable with what is wrong and what to do; then nothing is open.
    """
    # Without a handler of its own, paramiko's tracebacks would go to the terminal.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    place = machine.place
    stream = _stream(machine)
    client = paramiko.SSHClient()
    try:
        _load_known_hosts(client, machine)
        client.set_missing_host_key_policy(_NewKeys(machine))
        client.connect(
            machine.host,
            machine.port,
            machine.username,
            pkey=key,
            sock=stream,
            timeout=machine.timeout_s,
            banner_timeout=machine.timeout_s,
            auth_timeout=machine.timeout_s,
            allow_agent=key is None,
            look_for_keys=key is None,
        )
        transport = client.get_transport()
        assert transport is not None
        if _is_revoked(machine, transport.get_remote_server_key()):
            raise EnvironmentUnavailable(f"{machine}: its host key is marked as revoked in known_hosts")
        transport.set_keepalive(KEEPALIVE_S)
        return client
    except BaseException as error:
        client.close()
        stream.close()
        if isinstance(error, (SSHException, OSError, EOFError)):
            raise EnvironmentUnavailable(f"{machine}: {_explained(error, machine, place)}") from None
        raise


def ends(client: paramiko.SSHClient) -> tuple[str, str]:
    """The machine's address and this one's, as the connection has them."""
    transport = client.get_transport()
    assert transport is not None
    assert isinstance(transport.sock, socket.socket)
    return str(transport.sock.getpeername()[0]), str(transport.sock.getsockname()[0])


def _stream(machine: Machine) -> socket.socket:
    place = machine.place
    try:
        found = socket.getaddrinfo(machine.host, machine.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EnvironmentUnavailable(
            f"{machine}: the name {machine.host} has no address ({error.strerror or error}); name the machines with "
            "--nodes HOST,HOST,... or with --env-option hosts=..."
        ) from None
    # IPv4 where there is a choice: nodes see each other by it, for the firewall's rules name IPv4 addresses.
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    stream = socket.socket(family, kind, protocol)
    try:
        stream.settimeout(machine.timeout_s)
        stream.connect(address)
    except OSError as error:
        stream.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise EnvironmentUnavailable(
            f"{machine}: no SSH server can be reached at {place} ({why}); is the machine up, does sshd run on it, and is "
            "that its port (--ssh-port)?"
        ) from None
    return stream


def _explained(error: Exception, machine: Machine, place: str) -> str:
    files = machine.known_hosts[0]
    name = machine.host if machine.port == 22 else f"[{machine.host}]:{machine.port}"
    match error:
        case BadHostKeyException():
            return (
                f"its host key is not the one in known_hosts: it shows {_print(error.key)}, known is "
                f"{_print(error.expected_key)}. Somebody may be in between. If the machine was really installed anew: "
                f"ssh-keygen -R '{name}' -f {files}"
            )
        case _UnknownHostKey():
            return (
                f"its host key {_print(error.key)} is not in known_hosts. Compare it with the machine's own "
                f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), then add it with `ssh-keyscan -p "
                f"{machine.port} {machine.host} >> {files}`, or let --ssh-accept-new add it"
            )
        case AuthenticationException():
            key = machine.private_key or "any key of the SSH agent or of ~/.ssh"
            option = f"-i {machine.private_key} " if machine.private_key else ""
            return (
                f"the user {machine.username} was refused with {key}; let the key in with `ssh-copy-id {option}-p "
                f"{machine.port} {machine.username}@{machine.host}`, or name another user (--username) or key "
                "(--ssh-private-key)"
            )
        case SSHException() if "No authentication methods available" in str(error):
            return (
                f"there is no key to log in to {place} with: no SSH agent answers, and ~/.ssh has none; name one with "
                "--ssh-private-key"
            )
    return f"no SSH connection to {place} could be made: {error or type(error).__name__}; is an SSH server there?"


def _print(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _load_known_hosts(client: paramiko.SSHClient, machine: Machine) -> None:
    """What the files hold, line by line: paramiko's own loading ends at the first that it cannot read."""
    known = client.get_host_keys()
    for path in machine.known_hosts:
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EnvironmentUnavailable(f"{machine}: {path} cannot be read: {error.strerror or error}") from None
        for line in lines:
            if line.strip().startswith(("#", "@")):
                continue  # Of the marked lines only revocations matter here; see `_is_revoked`.
            try:
                entry = HostKeyEntry.from_line(line.strip())
            except (InvalidHostKey, SSHException):
                continue
            if entry is not None and entry.key is not None:
                for name in entry.hostnames or ():
                    known.add(name, entry.key.get_name(), entry.key)


def _is_revoked(machine: Machine, key: paramiko.PKey) -> bool:
    """Whether a line `@revoked` of known_hosts, which paramiko passes over, names this key."""
    for path in machine.known_hosts:
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except OSError:
            continue
        if any(line.startswith("@revoked") and key.get_base64() in line.split() for line in lines):
            return True
    return False
