"""Random histories of registers and append-only values, mostly with distinct values, for the monitors.

A history is made by running the model: each operation takes effect at its call or at its return. Then some answers are
made wrong. Values are distinct but for the share `twice`.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from checkers.linearizability.encode import Entries, entries
from checkers.models.model import Model, Operation, State
from checkers.models.registry import find
from histories.history import History
from histories.op import Op, freeze

MODELS = {
    "register": "register",
    "cas-register": "cas-register",
    "kv": "kv",
    "kv-append": "kv",
    "list-append": "list-append",
}


class Mix(msgspec.Struct, frozen=True):
    """Shares of operations: with a wrong answer, crashed, with a value that was written before; cas among the writes; cas
    that name a value at random; puts among the writes of a log; operations that nobody knows the result of.
    """

    wrong: float = 0.15
    crashed: float = 0.15
    twice: float = 0
    cas: float = 0.4
    blind_cas: float = 0.4
    put: float = 0.2
    unknown: float = 0.1
    read: float = 0.5
    odd: float = 0


MIXES = (
    Mix(twice=0.03, odd=0.02),
    Mix(crashed=0, wrong=0.3),
    Mix(crashed=0.4, wrong=0.2),
    Mix(crashed=0.5, wrong=0.1, cas=0.9, blind_cas=0.1),
    Mix(crashed=0.2, wrong=0.25, cas=0.9, blind_cas=0.2),
    Mix(crashed=0.1, wrong=0.0, cas=0.8, blind_cas=0.9, read=0.2),
    Mix(crashed=0.1, wrong=0.1, cas=0.2, put=0.05, read=0.6),
    Mix(crashed=0.1, wrong=0.1, cas=0.1, put=0.4, read=0.6),
    Mix(crashed=0.1, wrong=0.1, twice=0.3, odd=0.2),
)


def model_of(kind: str) -> Model:
    return find(MODELS[kind])


def random_entries(kind: str, seed: int, operations: int, processes: int, wrong: float = 1.0) -> Entries:
    """wrong: factor of the mix's share of wrong answers."""
    rng = Random(f"{kind}/{seed}")
    mix = rng.choice(MIXES)
    mix = msgspec.structs.replace(mix, wrong=mix.wrong * wrong)
    nil_reads = rng.random() < 0.2
    if not nil_reads:
        mix = msgspec.structs.replace(mix, unknown=0)
    made = _History(kind, rng, mix).run(rng.randint(1 + operations // 2, operations), rng.randint(1, processes))
    return entries(made, refused=rng.random() < 0.7, nil_reads=nil_reads)


class _History:
    def __init__(self, kind: str, rng: Random, mix: Mix) -> None:
        self.kind, self.rng, self.mix = kind, rng, mix
        self.model = model_of(kind)
        self.state: State = self.model.initial()
        self.seen: list[Any] = [None]
        self.values = 0
        self.ops: list[Op] = []

    def run(self, operations: int, processes: int) -> History:
        """The history; at most so many operations are open at a time."""
        rng, names = self.rng, list(range(processes))
        open_: dict[int, tuple[str, Any, bool, Any, bool]] = {}
        while operations or open_:
            thread = rng.choice([t for t in range(processes) if operations or t in open_])
            if thread not in open_:
                operations -= 1
                f, argument = self.ask()
                self.record("invoke", names[thread], f, argument)
                early = rng.random() < 0.5
                is_done, result = self.take_effect(f, argument) if early else (False, None)
                open_[thread] = f, argument, early, result, is_done
                continue
            f, argument, early, result, is_done = open_.pop(thread)
            is_crashed = rng.random() < self.mix.crashed
            if not early and (not is_crashed or rng.random() < 0.5):
                is_done, result = self.take_effect(f, argument)
            if is_crashed:
                if rng.random() < 0.8:
                    self.record("info", names[thread], f, None)
                    names[thread] += processes
                elif not operations:
                    break
                else:
                    self.record("info", names[thread], f, None)
                    names[thread] += processes
            elif not is_done or rng.random() < self.mix.odd:
                self.record("fail", names[thread], f, None)
            else:
                if f in ("read", "get"):
                    result = self.answer(result)
                self.record("ok", names[thread], f, result)
        return History(self.ops)

    def record(self, type_: Any, process: int, f: str, value: Any) -> None:
        self.ops.append(Op(len(self.ops), len(self.ops) * 1000, type_, process, f, None, value))

    def fresh(self) -> Any:
        rng = self.rng
        self.values += 1
        number = self.values if rng.random() >= self.mix.twice else rng.randint(1, self.values)
        if self.kind == "kv-append":
            if rng.random() < self.mix.odd:
                return rng.choice(["", "x", "xy", "a1.b1.", f"a{number}"])
            return f"{'ab'[number % 2]}{number}."
        odd: list[Any] = [True, 1.0, None, [1, 2], "x", float("nan")]
        if self.kind != "list-append":
            odd += [""]
        return rng.choice(odd) if rng.random() < self.mix.odd else number

    def ask(self) -> tuple[str, Any]:
        rng, mix = self.rng, self.mix
        if rng.random() < mix.read:
            return ("read" if self.kind != "kv-append" else "get"), None
        if self.kind == "list-append":
            return "append", self.fresh()
        if self.kind == "kv-append":
            if rng.random() < mix.odd / 2:
                return rng.choice([("delete", None), ("cas", ["x", "y"])])
            return ("put" if rng.random() < mix.put else "append"), self.fresh()
        if self.kind == "register" or rng.random() >= mix.cas:
            if self.kind == "kv" and rng.random() < mix.odd:
                return "delete", None
            return "write", self.fresh()
        old = rng.choice(self.seen) if rng.random() < mix.blind_cas else self.state
        return "cas", [old, old if rng.random() < mix.odd else self.fresh()]

    def take_effect(self, f: str, argument: Any) -> tuple[bool, Any]:
        """Whether it succeeded, and what it returns."""
        after = tuple(self.model.step(self.state, Operation(f, freeze(argument), None, is_known=False)))
        if f in ("read", "get"):
            return True, self.state
        if not after:
            return False, None
        self.state = after[0]
        self.seen.append(self.state)
        return True, argument

    def answer(self, result: Any) -> Any:
        rng = self.rng
        if rng.random() < self.mix.unknown:
            return None
        if rng.random() >= self.mix.wrong:
            return list(result) if isinstance(result, tuple) and self.kind == "list-append" else result
        other = rng.choice([*self.seen[-6:], result])
        if self.kind == "list-append":
            items = list(other or ())
            match rng.randrange(4):
                case 0 if items:
                    items[rng.randrange(len(items))] = rng.randint(1, self.values + 1)
                case 1:
                    items.append(rng.randint(1, self.values + 1))
                case 2:
                    items = items[: rng.randint(0, len(items))]
            return items
        if self.kind == "kv-append" and isinstance(other, str):
            match rng.randrange(4):
                case 0:
                    return other[: rng.randint(0, len(other))]
                case 1:
                    return other + f"{'ab'[rng.randrange(2)]}{rng.randint(1, self.values + 1)}."
        if self.kind != "kv-append" and rng.random() < 0.2:
            return rng.randint(1, self.values + 1)
        return other
