"""The campaign over the whole bug zoo: every planted bug is an expected finding, and the scenarios without one must stay green."""

from __future__ import annotations

from typing import Any

import yaml

from harness.campaign.flags import flags_of
from harness.zoo import registry

HEAD = """\
# Every planted bug of the zoo, each in its scenario, and the scenarios without one: does the harness find them all, and nothing
# else? `themis campaign init --zoo` wrote this file. The bugs are known findings, so that only a false alarm fails the campaign;
# a bug that was not found is a known finding that did not occur, and the report says so.

name: zoo
budget: 30m
seeds: 1..2000
enough: 3
keep: 1
shrink: 20s
known: {known}

require:
  ok-share: 0.05
  unknown-share: 0.3   # A planted bug may leave a cluster that serves nothing.

include:
"""

KNOWN_HEAD = """\
# What the campaign over the zoo must find.

known:
"""


def zoo_file(known: str) -> str:
    """The campaign file, whose known findings are in the file `known` beside it."""
    scenarios = [*registry.SCENARIOS, *(planted.scenario for planted in registry.PLANTED)]
    healthy = dict.fromkeys(_flow(flags_of(scenario.spec(0))) for scenario in scenarios)
    planted = [_flow(flags_of(planted.spec())) for planted in registry.PLANTED]
    return HEAD.format(known=known) + "".join(f"  - {flags}\n" for flags in [*healthy, *planted])


def zoo_known_file() -> str:
    """The known findings of the zoo: one a bug."""
    found = [
        {
            "target": f"{planted.target}+{planted.bug}",
            "anomaly": "*",
            "reason": f"planted: {planted.bug}",
            "expires": "2099-12-31",
        }
        for planted in registry.PLANTED
    ]
    return KNOWN_HEAD + "".join(f"  - {_flow(one)}\n" for one in found)


def _flow(value: dict[str, Any]) -> str:
    """The mapping in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=100_000).strip()
