"""Where the delivered bytes lie: one port, and the adapters that stand behind it."""
