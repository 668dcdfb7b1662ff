"""The published site with forms: readers say on the page what helped, and silence an incident.

command     the command `nightshift serve`: whether it may start, and that it ends
server      what is served and taken, from whom, and what is refused
forms       a published page with forms in the place of its commands
replies     what is said of an incident, checked, written and read again
"""
