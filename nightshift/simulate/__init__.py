"""The simulated sample: one timeline of incidents, and what each source would write down of it."""
