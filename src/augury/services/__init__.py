"""Business faces in front of the pipeline: they speak of tweets, not of tensors."""
