"""People: accounts, sessions, second factors, invites, and the limits on guessing."""
