"""The typed record of a run, which all other rooms read and write. Neither torch nor s3prl is imported here."""
