"""ddsctl's commands, a file per noun. What is slow to import is imported when a command runs."""
