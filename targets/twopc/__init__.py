"""Two-phase and three-phase commit over shards (Gray 1978; Mohan, Lindsay and Obermarck 1986; Skeen 1981)."""
