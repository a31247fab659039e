"""Was it allowed? Pure functions from a history to a verdict: no files, clocks, plots or prints."""

from checkers.verdict import Validity, Verdict, guarded, merge

__all__ = ["Validity", "Verdict", "guarded", "merge"]
