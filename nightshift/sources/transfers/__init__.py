"""Transfers: the events of Rucio, in files and in an Elasticsearch."""
