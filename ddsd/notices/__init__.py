"""What everybody is told: messages of the day, and whether the service is closed for maintenance."""
