"""From a program's text to a traced, validated, checked mechanism.

``block`` and ``policy`` read the text; ``tracer`` has a child process run it once and hands back
plain data; ``traced`` loads and validates that data; ``checks`` holds it to the promises. Nothing
is imported here, so that a process which only traces never imports torch.
"""
