"""What a run is, what it leaves behind, and its typed record. Neither torch nor s3prl is imported here."""
