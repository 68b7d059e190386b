"""The database: one engine for SQLite and PostgreSQL, the column types, and the migrations."""
