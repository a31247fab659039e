"""What happened: operations, histories, their file formats, and the rules they obey."""

from histories.builder import h
from histories.files import load
from histories.history import History
from histories.loaded import Format, Loaded
from histories.op import NEMESIS, Op, OpType, Process, freeze
from histories.tracing import TraceRecord
from histories.wellformed import MalformedHistory, Problem, problems

__all__ = [
    "NEMESIS",
    "Format",
    "History",
    "Loaded",
    "MalformedHistory",
    "Op",
    "OpType",
    "Problem",
    "Process",
    "TraceRecord",
    "freeze",
    "h",
    "load",
    "problems",
]
