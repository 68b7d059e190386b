<<<<<<< HEAD
"""Keys: who can open what, and nothing else (docs/formats.md)."""
=======
"""Keys, from a password to a project's private key: nothing here opens by the database alone."""
>>>>>>> keys
