"""Published mechanisms as complete programs: positive controls and the grammar's vocabulary.

One folder per framework, one program per file; :mod:`openevolve_unified.mechanisms.catalog` lists
them. Nothing here imports torch: the programs are text until a tracer's child runs them.
"""
