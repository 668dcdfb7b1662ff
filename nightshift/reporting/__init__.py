"""What a night may say: verdicts on studies, assurance from them, and the wording of numbers."""
