"""One YAML file per pretraining recipe."""
