"""Nightshift: nightly anomaly reports for research computing. One folder a role, one file for each thing
that varies.
"""
