"""Kinds of source: what is read from outside, one file each."""
