"""Incidents: findings of all studies that belong together, followed from night to night."""

# the change of an incident that is no news, since its study did not report while it lasted
NOT_WATCHED = "ended before it was watched"
# the change of an incident that another one has taken in, before the name of that one
PART_OF = "now part of "
