"""From scores to findings: evidence in sentences, tables and figures, one file per study."""
