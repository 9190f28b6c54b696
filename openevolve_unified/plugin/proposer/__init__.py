"""The embedded proposer: a grammar of published ingredients, the control arm without a model."""

from __future__ import annotations

from openevolve_unified.plugin.proposer.grammar_client import (
    GrammarLLM,
    create_grammar_client,
    register_grammar_provider,
)

__all__ = ["GrammarLLM", "create_grammar_client", "register_grammar_provider"]
