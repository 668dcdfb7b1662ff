"""From raw rows to clean tables: one file per study."""
