"""Fuzzes what reads bytes that others wrote: the readers of files, and the routes of a node. docs/fuzz.md has the figures."""
