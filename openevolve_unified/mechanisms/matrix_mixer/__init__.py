"""Published mechanisms in the notation of matrix mixer."""
