"""The story of a run: from a spec to a plan, through its phases, to a result."""
