"""CSV files to rows in the database: descriptors, survey, reading, validation, loading, ledger."""
