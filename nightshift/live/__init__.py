"""What scores between the nights: streams that are judged by the models of the last night's training."""
