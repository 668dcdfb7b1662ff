"""Incidents: what the digest reads of findings and of earlier nights. Linking, naming and ranking are in
incidents.py."""

# the change of an incident that is no news: nobody looked when it was there
NOT_WATCHED = "ended before it was watched"
