"""PostgreSQL (Debian's postgresql, 15 and later) as a target; see target.py."""
