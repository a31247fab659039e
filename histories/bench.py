"""What histories cost: how fast ops are written, and how long and how much memory it takes to load them again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import msgspec

from histories import jsonl
from histories.op import Op

_CONCURRENCY = 10
_KEYS = 100


class Measurement(msgspec.Struct, frozen=True):
    """The load of one file in a process of its own."""

    lines: int
    read_seconds: float
    read_cpu_seconds: float
    peak_bytes: int


def measure(ops: int) -> dict[str, float]:
    """Numbers for a history of this many operations (an invocation and a completion each).

    lines, file_bytes; write_ops_per_s: lines appended one by one, each handed to the kernel at once; read_seconds,
    read_cpu_seconds and
    read_peak_bytes: of jsonl.read in a fresh process, interpreter included.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "history.jsonl")
        with jsonl.Writer(path, {"benchmark": True}) as writer:
            append = writer.append
            spent_ns = 0
            for op in sample(ops):
                begun_ns = time.perf_counter_ns()
                append(op)
                spent_ns += time.perf_counter_ns() - begun_ns
        child = subprocess.run(
            [sys.executable, "-m", "histories.bench", path], check=True, capture_output=True, timeout=600
        )
        loaded = msgspec.json.decode(child.stdout, type=Measurement)
        assert loaded.lines == writer.count, "what was written is what is read"
        return {
            "operations": ops,
            "lines": loaded.lines,
            "file_bytes": os.path.getsize(path),
            "write_ops_per_s": round(writer.count / (spent_ns / 1e9)),
            "read_seconds": round(loaded.read_seconds, 3),
            "read_cpu_seconds": round(loaded.read_cpu_seconds, 3),
            "read_peak_bytes": loaded.peak_bytes,
        }


def sample(ops: int, seed: int = 1) -> Iterator[Op]:
    """A well-formed history of reads, writes and cas on many keys, of which one in a thousand ends info."""
    rng = random.Random(f"{seed}/histories.bench")
    processes = list(range(_CONCURRENCY))
    pending: dict[int, Op] = {}
    index = invoked = 0
    while invoked < ops or pending:
        thread = rng.randrange(_CONCURRENCY)
        if thread in pending:
            call = pending.pop(thread)
            is_lost = rng.random() < 0.001
            value = rng.randrange(5) if call.f == "read" and not is_lost else call.value
            error = "timeout" if is_lost else None
            yield Op(
                index,
                index * 5_000,
                "info" if is_lost else "ok",
                call.process,
                call.f,
                call.key,
                value,
                error,
                call.node,
            )
            if is_lost:
                processes[thread] += _CONCURRENCY
        elif invoked < ops:
            f = rng.choice(("read", "write", "cas"))
            value = None if f == "read" else rng.randrange(5) if f == "write" else [rng.randrange(5), rng.randrange(5)]
            key = f"k{invoked * _KEYS // ops}"
            pending[thread] = Op(
                index, index * 5_000, "invoke", processes[thread], f, key, value, None, f"n{thread % 5 + 1}"
            )
            yield pending[thread]
            invoked += 1
        else:
            continue
        index += 1


def _main(path: str) -> None:
    begun, begun_cpu = time.perf_counter(), time.process_time()
    loaded = jsonl.read(path)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    sys.stdout.buffer.write(msgspec.json.encode(Measurement(len(loaded.history), seconds, cpu_seconds, _peak_bytes())))


def _peak_bytes() -> int:
    """The most memory that this process has had resident."""
    import resource  # Here, because the rest of the package also runs where there is no such module.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB, macOS bytes.


if __name__ == "__main__":
    _main(sys.argv[1])
