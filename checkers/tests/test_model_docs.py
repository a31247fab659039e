"""The page on models tells the truth: its table is complete, and its example runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from checkers.linearizability.encode import entries
from checkers.linearizability.explain import explain
from checkers.linearizability.search import search
from checkers.models.registry import BUILT_IN, find
from checkers.verdict import Validity
from histories.builder import h

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_table_names_every_model_and_op() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*)\|$", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == set(BUILT_IN)
    for name in ("register", "cas-register", "kv", "kv-map", "multi-register", "counter", "set", "list-append"):
        for f in find(name).fs:
            assert f"`{f}`" in rows[name], (name, f)


def test_the_example_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "inventory_of_the_docs.py").write_text(blocks[0] + "\n" + blocks[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "inventory_of_the_docs", raising=False)
    model = find("inventory_of_the_docs:Inventory")
    legal = h("p0 invoke restock 3 | p0 ok restock | p1 invoke take 2 | p1 ok take | p0 invoke count | p0 ok count 1")
    assert search(entries(legal), model).validity is Validity.VALID
    oversold = h("p0 invoke restock 3 | p0 ok restock | p1 invoke take 4 | p1 ok take")
    result = search(entries(oversold), model)
    assert result.validity is Validity.INVALID
    assert "3 are in stock" in explain(oversold, entries(oversold), model, result).reason
    assert model.check(entries(h("p0 invoke take x"))[0].operation) == "take takes a number"
