"""What alembic runs: revisions on the connection it is given, inside that connection's transaction.

Imports nothing of the application: all there is was handed over in the configuration's attributes
by :mod:`ddsd.db.revision` or :mod:`ddsd.db.autogenerate`.
"""

from __future__ import annotations

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=given.get("metadata"),
    render_item=given.get("render_item"),
    compare_type=True,
    compare_server_default=True,
    render_as_batch=True,
    transactional_ddl=True,  # alembic's default for SQLite is no; our engine says BEGIN itself
)
context.run_migrations()
