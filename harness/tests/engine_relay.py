"""A Docker engine that can be killed and come back without harm to the real one: a socket that passes everything on to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

REAL = Path("/var/run/docker.sock")
_PIECE_BYTES = 1 << 16


class EngineRelay:
    """Listens at `path` until it is killed. address: for DOCKER_HOST."""

    def __init__(self, path: Path, real: Path = REAL) -> None:
        self.address = f"unix://{path}"
        self._real = real
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self._is_dead = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def kill(self) -> None:
        """Every connection is broken, and nobody is let in any more. Idempotent."""
        with self._guard:
            self._is_dead = True
            for each in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # Killed.
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._real))
                with self._guard:
                    self._open += [near, far]
                    if self._is_dead:
                        near.close()
                        far.close()
                        return
                for source, to in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, to), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                to.sendall(piece)
            to.shutdown(socket.SHUT_WR)  # Half a connection may end before the other.
