"""Runs mutants and prints what became of each. Exit status 0 when every one was killed."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.tests.mutation import table
from harness.tests.mutation.mutant import Broken, Stale, Workspace

QUICK = "--quick"
"""Run the test files that the table names, and no others when these pass."""


def main(arguments: Sequence[str]) -> int:
    is_quick = QUICK in arguments
    names = [argument for argument in arguments if argument != QUICK]
    known = {mutant.name: mutant for mutant in table.ALL}
    if unknown := [name for name in names if name not in known]:
        print(f"no mutant is called {', '.join(unknown)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in names] or table.ALL
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        workspace = Workspace(Path(temporary) / "copy")
        for mutant in chosen:
            began_s = time.monotonic()
            try:
                killer = workspace.killer(mutant, is_quick=is_quick)
            except (Stale, Broken) as error:
                end, said = type(error).__name__.upper(), str(error)
            else:
                end, said = ("SURVIVED", mutant.why) if killer is None else ("killed", killer)
            ends[end] += 1
            print(f"{end:8} {mutant.name:40} {time.monotonic() - began_s:6.1f} s  {said}", flush=True)
    print(", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    return 0 if set(ends) <= {"killed"} else 1


sys.exit(main(sys.argv[1:]))
