"""Monitors: near-linear algorithms for single data types, asked before the search (portfolio.py).

monitor.py says what a monitor is, registry.py which model has one. Each monitor's module states its conditions and proves
what it does; each has a native twin.
"""
