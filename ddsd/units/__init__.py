"""Units: the facilities that deliver."""
