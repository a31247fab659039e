"""`themis check`: any recorded history against a model, or a checker of the user's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec

from checkers import Validity, Verdict, guarded, merge
from checkers.evidence import CheckerCrash, Linearizability
from checkers.isolation import WORKLOADS
from checkers.linearizability import UnfitHistory, linearizable
from checkers.linearizability.encode import WILDCARD_FS
from checkers.models import registry
from checkers.models.model import Model
from checkers.recovery import is_unanswered
from checkers.transactions import UnfitTransactions, Wanted
from checkers.transactions.exact.check import CHECKER as EXACT
from harness.campaign.engines import engine
from harness.cli import consistencies, courses, isolation, options, transactions
from harness.cli.consistencies import LINEARIZABLE
from harness.cli.courses import judge_courses
from harness.cli.ending import note
from harness.cli.progress import waiting
from harness.cli.reporting import check_place, write_checked
from harness.errors import UsageError, module_of_file, unknown_name
from harness.report import summary
from harness.report.summary import CODES
from harness.spec import STATES_MAX
from harness.workloads import claims
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import ClaimChecker
from histories.files import load
from histories.history import History
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.loaded import Format, Loaded
from histories.printing import block, line
from histories.sources import name_of
from histories.wellformed import MalformedHistory

TRACEBACK_MAX = 4_000
MISFITS_SHOWN = 20


@click.command()
@click.argument("history", type=click.Path(path_type=Path))
@click.option(
    "--model",
    default=None,
    help="The sequential specification: a name with parameters, or package.module:Name.",
)
@click.option(
    "--consistency",
    default=None,
    metavar="NAME",
    help="What to check for. Default: linearizable. Also sequential (with --model), and for reads and writes causal, weak-causal, "
    "causal-memory, read-committed, read-atomic, read-your-writes, monotonic-reads, monotonic-writes, writes-follow-reads.",
)
@click.option(
    "--initial",
    default=None,
    metavar="JSON",
    help="What the object holds before the first op: a value, the elements of a collection, a map, the owner of a lock.",
)
@click.option(
    "--workload",
    type=click.Choice((*transactions.WORKLOADS, *WORKLOADS)),
    default=None,
    help="Transactions: what their micro-operations [f, key, value] do, or what the workload looks for (docs/transactions.md).",
)
@click.option(
    "--consistency-models",
    default=None,
    metavar="NAMES",
    help="Models that the transactions must keep, separated by commas. Default: strict-serializable.",
)
@click.option(
    "--anomalies", default=None, metavar="NAMES", help="Anomalies that they must not have, separated by commas."
)
@click.option("--sequential-keys", is_flag=True, help="rw-register: assume that each key is sequentially consistent.")
@click.option("--linearizable-keys", is_flag=True, help="rw-register: assume that each key is linearizable.")
@click.option(
    "--wfr-keys", is_flag=True, help="rw-register: assume that what a transaction writes follows what it read."
)
@click.option(
    "--total-amount",
    type=int,
    default=None,
    help="bank: the sum of all balances. Default: what was opened, or most reads.",
)
@click.option("--negative-balances", is_flag=True, help="bank: balances below zero are allowed.")
@click.option(
    "--exact",
    is_flag=True,
    help="rw-register: look for an order that explains it all, with nothing assumed (docs/transactions.md).",
)
@click.option("--checker", multiple=True, help="Run this checker: a name, or package.module:function; repeatable.")
@click.option("--format", "format_", type=click.Choice(("auto", *get_args(Format))), default="auto", show_default=True)
@click.option(
    "--states", type=click.IntRange(1, STATES_MAX), default=None, help="Budget: configurations; UNKNOWN beyond it."
)
@click.option("--time-limit", type=options.budget_s, default=None, help="Budget: seconds.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Keys checked at once. Default: the cores.")
@click.option(
    "--scheduler",
    default=None,
    metavar="ADDRESS",
    help="Linearizability: decide the keys on the workers of this Dask scheduler, such as tcp://host:8786.",
)
@click.option(
    "--failed-cas",
    type=click.Choice(("ignore", "observe")),
    default=None,
    help="Whether a failed cas proves that the value was another. Default: ignore (Knossos); observe for jepsen-log.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE.html",
    help="Also write the page of this history: the failure, and every operation; docs/report.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON document.")
def check(
    history: Path,
    model: str | None,
    consistency: str | None,
    initial: str | None,
    workload: str | None,
    consistency_models: str | None,
    anomalies: str | None,
    sequential_keys: bool,
    linearizable_keys: bool,
    wfr_keys: bool,
    total_amount: int | None,
    negative_balances: bool,
    exact: bool,
    checker: tuple[str, ...],
    format_: Format | Literal["auto"],
    states: int | None,
    time_limit: float | None,
    jobs: int | None,
    scheduler: str | None,
    failed_cas: str | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Is this recorded history allowed? Reads ours, Jepsen's and Knossos's EDN, and Porcupine's logs.

    HISTORY may be packed with gzip; - is standard input. docs/histories.md describes the formats.

    --model asks whether each key is linearizable for a sequential specification (docs/models.md lists them; parameters
    are JSON in brackets: "register(initial=0)"). --consistency asks for something weaker; --model takes its names as well
    (docs/eventual.md). --workload asks which consistency models a history of transactions rules out
    (docs/transactions.md). --checker runs a checker of your own (docs/checkers.md). With several of them, the worst
    verdict counts. Where a cluster was restored from a backup, each course of events is checked by itself, as in the run
    (docs/backup.md).

    Exit code: 0 valid, 1 invalid, 2 unknown, also where no operation succeeded; 254 when the history is malformed; 130 or 143
    ended by Ctrl-C or SIGTERM before anything invalid was found.

    \b
    Examples:
      themis check store/latest/history.jsonl --model cas-register
      themis check history.edn --model cas-register --initial 0
      themis check history.edn --model multi-register --initial '{"x": 0, "y": 0}'
      themis check history.jsonl --consistency causal
      themis check history.edn --workload list-append --consistency-models serializable
      themis check history.edn --workload bank --total-amount 100
      themis check history.jsonl --checker mine:never_back
      themis check history.edn --model cas-register --report failure.html
    """
    if report is not None:
        report = check_place(report)
    if initial is not None and model is None and consistency is None:
        raise UsageError("--initial says how the object of --model begins: name the model")
    asked = consistencies.question(model, consistency, initial, find_model)
    of_isolation: isolation.Question | None = None
    if workload is not None and workload in WORKLOADS:
        if anomalies is not None or sequential_keys or linearizable_keys or wfr_keys:
            raise UsageError(
                f"--anomalies and the assumptions about keys are for {' and '.join(transactions.WORKLOADS)}"
            )
        of_isolation = isolation.question(
            workload, consistency_models, total_amount, negative_balances=negative_balances
        )
    elif total_amount is not None or negative_balances:
        raise UsageError("--total-amount and --negative-balances are of --workload bank")
    of_transactions = _transactions_asked(
        None if of_isolation else workload,
        None if of_isolation else consistency_models,
        anomalies,
        sequential_keys,
        linearizable_keys,
        wfr_keys,
    )
    if exact:
        transactions.require_exact(workload, of_transactions, has_anomalies=anomalies is not None)
    checkers = claims.with_extra((), [claims.find_checker(name) for name in dict.fromkeys(checker)])
    if asked is None and of_transactions is None and of_isolation is None and not checkers:
        raise UsageError(
            f"say what to check for: --model, one of {', '.join(registry.names())}; --consistency, one of "
            f"{', '.join(consistencies.NAMES)}; --workload, for transactions, one of "
            f"{', '.join((*transactions.WORKLOADS, *WORKLOADS))}; or --checker"
        )
    for each in checkers:
        if each.name in ("" if asked is None else asked.consistency, EXACT if exact else workload):
            raise UsageError(
                f"--checker: another check that is asked for is called {each.name!r} as well; their verdicts could not be told "
                "apart: ask for one of them at a time"
            )
    if scheduler is not None and (asked is None or asked.consistency != LINEARIZABLE):
        raise UsageError("--scheduler spreads the keys of a linearizability check: give --model")
    if failed_cas is not None and (asked is None or asked.consistency != LINEARIZABLE):
        raise UsageError("--failed-cas is of a linearizability check: give --model")
    try:
        with waiting(sys.stderr, "reading the history"):
            # Steps of transactions are no pairs of a key and a value; what Jepsen's causal-reverse reads and writes is.
            loaded = load(history, format_, independent=False if of_transactions is not None else None)
    except MalformedHistory as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{name_of(history)}: {error.strerror or error}") from error
    if loaded.truncated:
        options.echo(f"{name_of(history)}: the last line is cut off; checking what is before it", err=True)
    takes_sessions = asked is not None and asked.consistency in consistencies.OF_REGISTERS
    if not loaded.has_real_time and (not takes_sessions or workload is not None or checkers):
        is_fit = (asked is None or takes_sessions) and not checkers
        transactions.require_no_real_time(name_of(history), of_transactions, alone=is_fit)
    to_do: dict[str, Callable[[], Verdict]] = {}
    if asked is not None and asked.consistency != LINEARIZABLE:
        job = partial(judge_courses, asked.consistency, asked.check(loaded, states, time_limit), loaded.history)
        to_do[asked.consistency] = partial(guarded, asked.consistency, job, lets_pass=(UnfitHistory, MalformedHistory))
    elif asked is not None:
        assert asked.model is not None
        specification = asked.model
        observe = failed_cas == "observe" if failed_cas else loaded.format == "jepsen-log"
        budget = Budget(states, time_limit, jobs, scheduler)
        to_do[LINEARIZABLE] = partial(judge, loaded, specification, budget, observe=observe)
    if workload is not None and of_transactions is not None and exact:
        to_do[EXACT] = partial(transactions.judge_exactly, loaded, of_transactions, time_limit)
    elif workload is not None and of_transactions is not None:
        to_do[workload] = partial(transactions.judge, loaded, workload, of_transactions)
    if workload is not None and of_isolation is not None:
        to_do[workload] = partial(of_isolation.judge, loaded)
    context = run_of(loaded.history, states, time_limit)
    for each in checkers:
        on_course = partial(_by_checker, each, context)
        is_of_registers = each is claims.STANDALONE.get(each.name) and each.data_type in ("", "register")
        seen = _known(loaded.history) if loaded.nil_reads_are_wildcards and is_of_registers else loaded.history
        to_do[each.name] = partial(guarded, each.name, partial(judge_courses, each.name, on_course, seen))
    parts: dict[str, Verdict] = {}
    try:
        for name, give in to_do.items():
            with waiting(sys.stderr, f"{line(name)}: {len(loaded.history):,} events"):
                parts[name] = give()
            note(CODES[parts[name].validity])
    except UnfitHistory as error:
        raise UsageError(unfit(name_of(history), loaded, error)) from error
    except UnfitTransactions as error:
        raise UsageError(transactions.unfit(name_of(history), loaded, workload or "", error)) from error
    except KeyboardInterrupt:
        if not any(part.validity is Validity.INVALID for part in parts.values()):
            raise
        # A violation was found, and it is told whatever the rest would have said.
        for name in to_do:
            parts.setdefault(name, Verdict.unknown("interrupted before it was checked", name))
    parts |= courses.restores(loaded.history)
    verdict = next(iter(parts.values())) if len(parts) == 1 else merge(parts)
    if report is not None:
        kind = consistency or ("" if model is None else LINEARIZABLE)
        claim = f"{kind}{' as ' + model if model else ''}"
        write_checked(report, name_of(history), loaded.history, verdict, claim)
    if as_json:
        options.echo_json(verdict)
    else:
        options.echo("\n".join((summary.verdict_text(verdict, name_of(history)), *summary.restores(verdict))))
        for crash in crashes(parts.values()):
            options.echo(block(crash, TRACEBACK_MAX), err=True)
    return CODES[verdict.validity]


def _transactions_asked(
    workload: str | None,
    models: str | None,
    anomalies: str | None,
    sequential_keys: bool,
    linearizable_keys: bool,
    wfr_keys: bool,
) -> Wanted | None:
    """What `--workload` and the options that go with it ask for; None without it. Raises UsageError."""
    if workload is None:
        if models is not None or anomalies is not None or sequential_keys or linearizable_keys or wfr_keys:
            raise UsageError("this needs --workload, which says what the transactions do: list-append or rw-register")
        return None
    if workload == "list-append" and (sequential_keys or linearizable_keys or wfr_keys):
        raise UsageError("lists show their order themselves: assumptions about keys are for --workload rw-register")
    return transactions.wanted(
        models,
        anomalies,
        sequential_keys=sequential_keys,
        linearizable_keys=linearizable_keys,
        wfr_keys=wfr_keys,
    )


class Budget(msgspec.Struct, frozen=True):
    """What a check may take: configurations of a key, seconds in all, threads; None: no limit. scheduler: of Dask, whose workers
    compute it; None: this process does."""

    states_max: int | None
    time_limit_s: float | None
    jobs: int | None
    scheduler: str | None = None


def find_model(text: str, initial: str | None = None) -> Model:
    """The model of `--model`, beginning as `--initial` says. Raises UsageError with the nearest name, or with what is
    wrong with it.
    """
    more: dict[str, Any] = {}
    if initial is not None:
        try:
            more["initial"] = decoded(msgspec.json.decode, os.fsencode(initial), FILE_DEPTH_MAX)
        except msgspec.DecodeError as error:
            raise UsageError(
                f"--initial {initial}: this is not JSON ({error}); a text is written '\"text\"'"
            ) from error
    try:
        return registry.find(text, **more)
    except LookupError:
        raise unknown_name("model", text, registry.names(), own="package.module:Name") from None
    except Exception as error:
        # Whatever a user's own module raises on import or construction, too.
        raise UsageError(f"--model {text}: {str(error) or type(error).__name__}{module_of_file(text)}") from error


def judge(loaded: Loaded, model: Model, budget: Budget, *, observe: bool) -> Verdict:
    """Linearizability of the history; UNKNOWN when nothing in it constrains the model, or the model raises.

    Raises UnfitHistory.
    """
    conclusive = ("ok", "fail") if observe else ("ok",)
    is_wild = loaded.nil_reads_are_wildcards
    if not any(
        op.is_client and op.type in conclusive and not (is_wild and op.value is None and op.f in WILDCARD_FS)
        for op in loaded.history
    ):
        return Verdict.unknown("nothing was checked: no operation succeeded", LINEARIZABLE)

    def search(jobs: int | None, executor: Executor | None, course: History) -> Verdict:
        return linearizable(
            course,
            model,
            states_max=budget.states_max,
            time_limit_s=budget.time_limit_s,
            jobs=jobs,
            refused=observe,
            nil_reads=loaded.nil_reads_are_wildcards,
            executor=executor,
        )

    with ExitStack() as stack:
        executor, jobs = (
            (None, budget.jobs) if budget.scheduler is None else stack.enter_context(engine(1, budget.scheduler))
        )
        seen = _answered(loaded.history) if observe else loaded.history
        job = partial(judge_courses, LINEARIZABLE, partial(search, jobs, executor), seen)
        return guarded(LINEARIZABLE, job, lets_pass=(UnfitHistory, MalformedHistory))


def _answered(history: History) -> History:
    """Without what failed because nobody answered: it saw nothing, as a cas does that the value refused."""
    left_out = {
        position
        for begin, end in history.completions.items()
        if history[end].type == "fail" and is_unanswered(history[end])
        for position in (begin, end)
    }
    return History(op for at, op in enumerate(history) if at not in left_out) if left_out else history


def _known(history: History) -> History:
    """With what reads of nil say in this format: nothing, as if they had failed."""
    return History(
        msgspec.structs.replace(op, type="fail")
        if op.is_client and op.type == "ok" and op.value is None and op.f in WILDCARD_FS
        else op
        for op in history
    )


def _by_checker(checker: ClaimChecker, context: WorkloadContext, course: History) -> Verdict:
    return checker.check(course, context)


def run_of(history: History, states_max: int | None, time_limit_s: float | None) -> WorkloadContext:
    """What a checker is told of the run behind a history."""
    nodes = sorted({op.node for op in history if op.node is not None})
    processes = {op.process for op in history if op.is_client}
    return WorkloadContext(
        None, tuple(nodes), len(processes), claim="", states_max=states_max, check_time_limit_s=time_limit_s
    )


def crashes(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """The traceback of each checker or model that raised."""
    for verdict in verdicts:
        match verdict.evidence:
            case CheckerCrash(traceback=traceback):
                yield traceback
            case Linearizability(undecided=undecided):
                yield from {each.traceback: None for each in undecided if each.traceback}


def unfit(name: str, loaded: Loaded, error: UnfitHistory) -> str:
    """Which lines of the file the model cannot take, and why: the first of each kind."""
    lines = [f"{name}: the history does not fit the model {error.model}:"]
    for misfit in error.misfits[:MISFITS_SHOWN]:
        where = f"line {loaded.lines[misfit.index]}" if loaded.lines else f"op {misfit.index}"
        lines.append(f"  {where}: {line(misfit.detail)}")
    if len(error.misfits) > MISFITS_SHOWN:
        lines.append(f"  ... and {len(error.misfits) - MISFITS_SHOWN} more")
    return "\n".join(lines)
