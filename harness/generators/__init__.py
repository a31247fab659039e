"""Pure generators: what should happen next, as immutable values, with Jepsen's combinators and names.

    phases(
        main_phase(time_limit(30, clients(rate(rng, 100, mix(rng, [reads, writes])), nemesis_generator=faults))),
        nemesis(heal),
        sleep(1),
        clients(each_thread(until_ok(repeat(read)))),
    )

What is random takes the run's `random.Random(f"{seed}/generator")` first, and draws one word of it while it is built.
"""

from harness.generators.core import (
    NOTHING,
    PENDING,
    Context,
    Generatable,
    Generator,
    GeneratorError,
    Invocation,
    Pending,
    Step,
    Thread,
    concat,
    filled,
    lift,
)
from harness.generators.independent import concurrent_keys
from harness.generators.randomness import Stream, salt_of
from harness.generators.sequencing import (
    cycle,
    flip_flop,
    indexed,
    limit,
    main_phase,
    once,
    phases,
    process_limit,
    repeat,
    synchronize,
    then,
    until_ok,
)
from harness.generators.threads import any_of, clients, each_process, each_thread, nemesis, on_threads, reserve
from harness.generators.timing import delay, lasting, log, rate, sleep, stagger, time_limit, timed
from harness.generators.transforming import f_map, filter_ops, map_ops, mix, on_update, random_calls, trace

__all__ = [
    "NOTHING",
    "PENDING",
    "Context",
    "Generatable",
    "Generator",
    "GeneratorError",
    "Invocation",
    "Pending",
    "Step",
    "Stream",
    "Thread",
    "any_of",
    "clients",
    "concat",
    "concurrent_keys",
    "cycle",
    "delay",
    "each_process",
    "each_thread",
    "f_map",
    "filled",
    "filter_ops",
    "flip_flop",
    "indexed",
    "lasting",
    "lift",
    "limit",
    "log",
    "main_phase",
    "map_ops",
    "mix",
    "nemesis",
    "on_threads",
    "on_update",
    "once",
    "phases",
    "process_limit",
    "random_calls",
    "rate",
    "repeat",
    "reserve",
    "salt_of",
    "sleep",
    "stagger",
    "synchronize",
    "then",
    "time_limit",
    "timed",
    "trace",
    "until_ok",
]
