"""The jail: what untrusted candidate code may do, kept by the kernel."""
