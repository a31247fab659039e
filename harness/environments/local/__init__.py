"""The environment `local`: nodes are processes on loopback."""
