"""What happens to a project from release to the end."""
