"""What the studies found: findings, sentences of evidence, tables, figures; one file per study or subject."""
