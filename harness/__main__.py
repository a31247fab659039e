"""`themis`, the console script, and `python -m harness`.

Importing the command takes most of a second. A signal in that time ends the process with the code that it has later: there is
nothing to heal yet, and nothing to say. So this module itself imports nothing but what the interpreter has at hand: `signal` would
take longer than the rest of the way to `main`, and until then Ctrl-C is Python's, with a traceback.
"""

import _signal  # type: ignore[import-not-found]  # It is built in; typeshed knows only `signal`.
import os


def main() -> None:
    """The command."""
    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _leave)
    from harness.cli import main as command

    command()


def _leave(number: int, _frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
