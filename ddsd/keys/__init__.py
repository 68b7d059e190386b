"""Keys, from a password to a project's private key: nothing here opens by the database alone."""
