"""Doors for clients. A gateway checks form, credentials and bounds; it never judges the market."""
