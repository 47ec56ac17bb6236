"""The hidden-state cache: a frozen upstream runs once over every utterance, and training reads what it gave."""
