"""Records of runs, typed. Neither torch nor s3prl is imported here."""
