"""`themis`, the console script, and `python -m harness`.

Importing the command takes most of a second. A signal in that time ends the process with the code that it has later: there is
nothing to heal yet, and nothing to say.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """The command."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from harness.cli import main as command

    command()


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
