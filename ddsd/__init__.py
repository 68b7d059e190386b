"""The daemon: a data delivery service for research facilities."""

__version__ = "0.1.0"
