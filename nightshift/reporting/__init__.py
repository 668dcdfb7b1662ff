"""The site: what each study did, pages, the feed, digest.json, all nights together."""
