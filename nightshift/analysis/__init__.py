"""What an analysis finds: findings, sentences of evidence, figures; one file per study."""
