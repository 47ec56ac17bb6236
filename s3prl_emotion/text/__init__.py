"""Transcripts, text encoders, and speech recognition."""
