"""What finds the unusual: one file per study."""
