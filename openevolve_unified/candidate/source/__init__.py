"""A candidate as text: its block, and what its author may write."""
