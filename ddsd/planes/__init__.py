"""The ways in: each plane turns requests into calls of verbs, and errors into its own words."""
