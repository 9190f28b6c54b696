"""The candidate: from a program's text to a traced, validated, checked mechanism.

``source`` reads the text; ``tracing`` has a child process run it once and hands back plain data;
``program`` loads, validates and interprets that data; ``checks`` holds it to the promises. Nothing
is imported here, so that a process which only traces never imports torch.
"""
