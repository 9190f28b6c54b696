"""Data: where the text comes from, how it becomes token sequences, and which batch is at step k.

The order of things: ``corpora`` (documents) -> ``splits`` (distinct, shuffled, held out) ->
``tokenizer`` (BPE of the training split) -> ``packing`` (rows of tokens) -> ``drift`` and ``floor``
(what is known about the rows) -> ``cache`` (all of it, once, on disk). No torch here.
"""

from openevolve_unified.data.cache import TokenData, open_cached, prepare

__all__ = ["TokenData", "open_cached", "prepare"]
