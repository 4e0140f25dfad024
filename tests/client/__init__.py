"""Tests of what happens between a call and the wire."""
