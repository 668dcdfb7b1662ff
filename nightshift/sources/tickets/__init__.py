"""Tickets: osTicket, tables of other help desks, and the accounts of Slurm."""
