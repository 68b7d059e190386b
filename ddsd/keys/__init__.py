"""Keys: who can open what, and nothing else (docs/formats.md)."""
