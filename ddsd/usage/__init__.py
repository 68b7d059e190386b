"""What is stored, for how long, at what price, and how much of it a unit may have."""
