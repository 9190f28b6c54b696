"""Escape attempts against the jail: each works without it and must fail inside it.

``run.run_bare`` and ``run.run_confined`` make the same attempts without and with the jail. They
touch only what the run itself planted: a key, a home, temporary folders, loopback listeners; every
loop and every sleep is bounded.
"""
