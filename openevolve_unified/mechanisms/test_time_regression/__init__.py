"""Published mechanisms in the notation of test time regression."""
