"""The commands: ``app`` names them, one module each says what it takes and does it."""
