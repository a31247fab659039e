"""The page of a run: one HTML file that shows the verdict, the failure, and the whole run, and needs nothing else."""
