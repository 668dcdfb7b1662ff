"""What finds the unusual: features, models, scores, thresholds; files per study."""
