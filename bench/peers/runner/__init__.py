"""Runs PostgreSQL queues beside hostler; see ../README.md."""
