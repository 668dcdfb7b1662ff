"""The published site with forms: readers report on the page what helped, and silence an incident.

command     the command `nightshift serve`: whether it may start, and how it ends
server      what is served and accepted, from whom, and what is refused
forms       a published page with forms in the place of its commands
replies     what readers report about an incident, checked, written and read again
"""
