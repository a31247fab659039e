"""The tests of signals hold under `nohup` too, which tells whatever it starts to ignore SIGHUP."""

import signal


def pytest_configure() -> None:
    """SIGHUP means to this process, and to those that tests start, what it means in a terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
