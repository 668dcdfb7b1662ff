"""__Title__: CSV files of values."""
