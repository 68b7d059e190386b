"""Projects: what is delivered, to whom, and in which status it is."""
