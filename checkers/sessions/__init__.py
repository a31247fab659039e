"""The four session guarantees of Terry et al. 1994, each on its own."""

from checkers.sessions.check import GUARANTEES, Guarantee, session_guarantee

__all__ = ["GUARANTEES", "Guarantee", "session_guarantee"]
