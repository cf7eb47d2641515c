"""The engine, its sessions, the tables."""
