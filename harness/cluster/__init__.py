"""Clusters that stand: `themis cluster up` keeps one until it is told to go, and other commands look at it and break it."""
