"""An SSH server inside the test's own process, on loopback: it lets one key in and runs what it is asked to here, or answers
from a script."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.environments.ssh.executor import MARK
from harness.environments.ssh.options import Machine

Answer = tuple[int, bytes, bytes]
"""Exit status, standard output, standard error."""


class _Session(paramiko.ServerInterface):
    def __init__(self, server: Server) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        is_let_in = username == "tester" and key == self._server.user_key
        return paramiko.common.AUTH_SUCCESSFUL if is_let_in else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command.decode())
        threading.Thread(target=self._server.carry_out, args=(channel, command.decode()), daemon=True).start()
        return True


class Server:
    """commands: the command lines that were sent, in order. greeting: what the login shell runs before each. `close` ends it
    and every connection."""

    greeting = ""

    def __init__(self, directory: Path, answer: Callable[[str], Answer] | None = None) -> None:
        self.host_key = paramiko.Ed25519Key.from_private_key_file(str(new_key(directory / "host")))
        self.key_path = new_key(directory / "user")
        self.user_key = paramiko.Ed25519Key.from_private_key_file(str(self.key_path))
        self.known_hosts = directory / "known_hosts"
        self.commands: list[str] = []
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def know(self) -> None:
        """known_hosts holds its key."""
        entry = f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"
        self.known_hosts.write_text(entry)

    def machine(self, *, username: str = "tester", accept_new: bool = False, port: int = 0) -> Machine:
        """How to get to it, as node n1."""
        return Machine(
            node="n1",
            host="127.0.0.1",
            port=port or self.port,
            username=username,
            private_key=str(self.key_path),
            known_hosts=(str(self.known_hosts),),
            accept_new=accept_new,
            timeout_s=10,
        )

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def carry_out(self, channel: paramiko.Channel, command: str) -> None:
        """Answer from the script, or let a shell run it with the channel as its standard streams."""
        if self._answer is not None:
            status, out, errors = self._answer(command)
            out, errors = MARK + out, MARK + errors
            while channel.recv(1 << 15):
                continue
        else:
            given = b""
            while piece := channel.recv(1 << 15):
                given += piece
            line = f"{self.greeting}{command}"
            ended = subprocess.run(["sh", "-c", line], input=given, capture_output=True, check=False)
            status, out, errors = ended.returncode, ended.stdout, ended.stderr
        try:
            channel.sendall(out)
            channel.sendall_stderr(errors)
            channel.send_exit_status(status)
        except (paramiko.SSHException, EOFError, OSError):
            return  # Nobody waits any more.
        finally:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                channel.close()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(accepted)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Session(self))
            except (paramiko.SSHException, EOFError, OSError):
                continue  # The client did not like the host key.


def new_key(path: Path) -> Path:
    """A new private key is there."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path
