"""Bytes to values and back, and the conversations that open a connection. No sockets in here."""
