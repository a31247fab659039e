"""`make bench`: how fast the harness is on this machine."""
