"""Redis (Debian's redis-server and redis-sentinel, 7 and later) as a target; see target.py."""
