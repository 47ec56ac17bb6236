"""A trained head in; predictions for any audio, or an exported head, out."""
