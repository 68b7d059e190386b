"""Measurements: a daemon of its own process, a client that opens a connection per request. Not collected by pytest."""
