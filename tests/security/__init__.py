"""What README.md promises under Security."""
