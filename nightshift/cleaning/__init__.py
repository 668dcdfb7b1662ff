"""From raw rows to clean tables: what the notebooks 2_preprocess do."""
