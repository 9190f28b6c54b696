"""What the machine gives, what our training takes of it, and what others take for the same work."""
