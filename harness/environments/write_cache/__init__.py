"""A file system below a node's data directory that can lose what was not synced: the disk of a machine that loses its power."""
