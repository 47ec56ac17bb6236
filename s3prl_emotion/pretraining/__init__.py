"""Recipes that make new upstreams from speech: what they share is here, one folder per recipe beside it."""
