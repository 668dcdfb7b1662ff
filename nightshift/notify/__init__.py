"""The night by mail: who gets what, messages, and how they are handed over."""
