"""Incidents: what the digest reads of findings and of earlier nights. Linking, naming and ranking are in
incidents.py."""
