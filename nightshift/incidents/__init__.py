"""Incidents: findings of all studies that belong together, followed from night to night."""

# the change of an incident that is no news: nobody looked when it was there
NOT_WATCHED = "ended before it was watched"
