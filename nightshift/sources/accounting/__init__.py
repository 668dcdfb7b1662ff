"""Accounting: GRACC, the sacct of Slurm, and logs in the Standard Workload Format."""
