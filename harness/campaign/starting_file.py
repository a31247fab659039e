"""The campaign file that `themis campaign init` writes."""

from __future__ import annotations

STARTING_FILE = """\
# A campaign of themis: every combination of the matrix, over many seeds, until the budget is used up.
#
#   themis campaign run campaign.yaml        exit code 0 only when enough was tested and nothing was found
#   themis campaign resume                   go on after Ctrl-C, a crash or a kill
#   themis campaign bundle                   the reports and the failing runs in one zip file

name: nightly
budget: 10m            # 90s, 30m, 8h; without it: until every seed is done
seeds: 1..1000         # of each combination; the first seed of all combinations comes first, then the second
# strategy: coverage   # go on from rare behaviour of earlier runs, instead of drawing each run afresh
# jobs: 2              # processes that simulate; default: one per processor

run:                   # flags of `themis test`, for every run
  env: sim
  time-limit: 20

matrix:                # flags of `themis test`, each with the values that it takes
  target: [raft]
  workload: [register, queue, set]
  nemesis:
    - partition,kill
    - pause,clock,loss
  nodes: [3, 5]

exclude:               # combinations to leave out: those with all of these values
  - {workload: queue, nodes: 3}

include:               # further combinations, beside the matrix
  - {target: raft, swarm: true}   # each seed draws nodes, faults, rate, mix and options
  - {target: raft, target-option: {reads: log}, nemesis: "partition,clock"}

shrink: 30s            # for each finding: search for a small run that shows the same
keep: 3                # runs of each kind of failure that are kept whole

# enough: 10           # a combination that failed so often rests, and the others have its time

# known: known.yaml    # expected failures, with a reason and a day on which that ends:
#                      #   known:
#                      #     - {target: raft, anomaly: "linearizable/*", reason: "bug 42", expires: 2030-01-31}

require:
  ok-share: 0.2        # of all client ops, at least so many must succeed
  unknown-share: 0.02  # of all runs, at most so many may be UNKNOWN, such as vacuous ones
"""
