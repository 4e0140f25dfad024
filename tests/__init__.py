"""The tests, a package so that they can share helpers: `tests.virtual_clock` and others."""
