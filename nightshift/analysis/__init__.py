"""Findings, sentences of evidence and figures of the studies."""
