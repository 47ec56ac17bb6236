"""What a run is and leaves behind. Neither torch nor s3prl is imported here."""
