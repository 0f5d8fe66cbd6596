"""What ingest and backups both need; imports neither of them."""
