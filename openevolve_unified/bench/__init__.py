"""The benchmark: what the machine gives, what our training takes of it, and what others take."""
