"""Our own delivery API: JSON over HTTPS, for clients that keep the password and the private key to themselves."""
