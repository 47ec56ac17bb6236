"""What is said: where texts come from, text encoders, and speech recognition."""
