"""The executor of a Ray cluster: a driver process, nodes, and files sent by content."""
