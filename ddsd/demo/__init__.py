"""The demonstration: a realistic data set, and one delivery of it from beginning to end.

It is a plain client of the stock wire; nothing in it reaches into the daemon.
"""
