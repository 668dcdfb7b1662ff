"""Remediation: what may be tried about an incident, and how much feedback helps to choose."""
