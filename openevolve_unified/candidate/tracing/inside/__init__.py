"""The untrusted side of tracing: what runs beside candidate code, never imported outside."""
