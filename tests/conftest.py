"""What all tests share. Helpers without a fixture are in modules of this package."""

from __future__ import annotations
