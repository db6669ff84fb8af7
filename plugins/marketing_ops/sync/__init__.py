"""The sync engine: pages of records in, merged rows, books and a cursor out."""
