"""The asyncio client for the Capillary Badges API."""
