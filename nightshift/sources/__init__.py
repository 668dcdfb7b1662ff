"""Readers of outside sources: a folder of kinds of source per study, and what several of them use."""
