"""Whether a store keeps what deliveries need of it: checks with names, each of which says what its failure means.

The operator's ``ddsctl store check`` runs them against the configured store, and ``tests/contracts`` against every
store of the tests: one set of functions, so that the two cannot drift apart. Invariant: a check works on scratch
buckets alone, whose names no project has, and what it made is removed when the bench is closed.
"""
