"""The admin plane: the operator's requests, over a Unix socket and nowhere else."""
