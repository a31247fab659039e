"""Fuzzes what reads bytes that others wrote: the readers of files, and the routes of a node. docs/soak.md has the last figures."""
