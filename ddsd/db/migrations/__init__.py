"""The revisions of the schema, and what alembic needs. A released revision is never edited."""
