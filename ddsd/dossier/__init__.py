"""Everything that is known of one project, put together for whoever is asked about it. Nothing is changed or opened."""
