"""Published mechanisms in the notation of coefficient dynamics."""
