"""The one expert that all our ``-d`` names share, its configuration, its data and its objectives."""
