"""Models by name, with parameters, and from a user's module."""

from __future__ import annotations

import pytest

from checkers.models.model import Model, Operation
from checkers.models.registry import complete, find, names


class Minimal:
    """The least that a user may write."""

    name = "minimal"
    fs = frozenset({"flip"})

    def initial(self) -> bool:
        return False

    def step(self, state: object, operation: Operation) -> list[bool]:
        return [not state]


INSTANCE = Minimal()


class Nothing:
    name = "nothing"


def test_every_name_is_found_and_is_the_models_own() -> None:
    for name in names():
        model = find(name)
        assert isinstance(model, Model)
        assert model.name == name
        assert model.fs


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no model is called 'regster'.*cas-register"):
        find("regster")


def test_parameters() -> None:
    assert find("cas-register(initial=0)").initial() == 0
    assert find('register( initial = "x" )').initial() == "x"
    assert find("register()").initial() is None
    assert find("register(initial=[])").initial() == ()
    assert find('multi-register(initial={"x": 0, "y": [1, 2]})').initial() == frozenset({("x", 0), ("y", (1, 2))})
    assert find("semaphore(permits=3, initial=[1, 1])").initial() == (1, 1)
    assert find("register", initial=2).initial() == 2
    with pytest.raises(ValueError, match="initial is given twice"):
        find("register(initial=1)", initial=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("register(start=0)", "no parameter 'start'; it has: initial"),
        ("set(initial=0)", "initial: the set begins as a list, not 0"),
        ("lossy-queue(first=0)", "no parameter 'first'; it has: initial"),
        ("register(initial=1 initial=2)", "word=JSON"),
        ("register(initial=zero)", "word=JSON"),
        ("register(0)", "word=JSON"),
        ("semaphore(permits=[1])", "permits: Expected `int`, got `array`"),
        ("counter(initial=null)", "initial: Expected `int`, got `null`"),
        (f"{__name__}:INSTANCE(initial=0)", "takes no parameters"),
    ],
)
def test_bad_parameters(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(name)


@pytest.mark.parametrize("path", [f"{__name__}:Minimal", f"{__name__}:INSTANCE"])
def test_a_users_model_needs_four_members(path: str) -> None:
    model = find(path)
    flip = Operation("flip")
    assert isinstance(model, Model)
    assert (model.name, model.fs, model.initial()) == ("minimal", frozenset({"flip"}), False)
    assert list(model.step(False, flip)) == [True]
    assert model.check(flip) is None
    assert not model.is_pure(flip)
    assert not model.is_reset(flip)
    assert model.describe(True) == "the state is True"


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="lacks fs, initial, step"):
        find(f"{__name__}:Nothing")
    with pytest.raises(AttributeError):
        find(f"{__name__}:Absent")
    with pytest.raises(ImportError):
        find("no.such.module:Model")


def test_a_whole_model_is_not_wrapped() -> None:
    model = find("register")
    assert complete(model) is model
