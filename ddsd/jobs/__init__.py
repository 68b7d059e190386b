"""Slow work as rows: claimed by one daemon, restarted after a kill, visible while it lasts."""
