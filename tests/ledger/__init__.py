"""Tests of the ledger: the file, what is in it, and what it survives."""
