"""Wire models of our own planes. Imports nothing else of this package: it is all that ddsctl may import."""
