"""One YAML file per ``-d`` name: the file's stem is the name."""
