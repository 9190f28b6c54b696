"""The embedded proposer: a seeded grammar behind OpenEvolve's interface for language models.

It is not a language model and never claims to be one; it is the control arm that needs no key. It
reads the current program and the programs shown beside it out of OpenEvolve's prompt, composes a
program that it has not seen, and answers with a SEARCH/REPLACE diff that replaces the EVOLVE-BLOCK.

Reproducible: in a run of ours a choice depends on the configured seed, the iteration, the current
program, the genomes in the prompt, and those that the run's folder records for earlier iterations;
elsewhere on the calls made before. So a resumed run goes on as if it had never stopped
(``plugin.steady`` says when). Not on scores, whose last digit differs between machines.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
from typing import Any

from openevolve.config import LLMModelConfig
from openevolve.llm import ensemble
from openevolve.llm.base import LLMInterface
from openevolve.utils.code_utils import apply_diff_blocks, extract_diffs, parse_evolve_blocks

from openevolve_unified.plugin.proposer.genome import (
    Genome,
    Proposal,
    genomes_in,
    propose,
    softmax_genome,
)
from openevolve_unified.plugin.proposer.ingredients import BY_NAME
from openevolve_unified.plugin.proposer.render import framework_of, render_block
from openevolve_unified.plugin.turn import Turn, current_turn
from openevolve_unified.runs.directory import RunDirectory

MODEL_NAME = "grammar (not a language model)"
PROVIDER = "grammar"
_CURRENT_PROGRAM = "# Current Program\n"
_SHOWN_PROGRAMS = "## Top Performing Programs"
_DIFF_MARKERS = ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE")


class GrammarLLM(LLMInterface):
    """Answers OpenEvolve's prompts from the grammar; every call proposes something new.

    Args:
        model_config: only ``random_seed`` is read; None counts as 0.
    """

    def __init__(self, model_config: LLMModelConfig):
        self.model = MODEL_NAME
        self.last_usage: dict[str, Any] | None = None
        self._seed = model_config.random_seed or 0
        self._proposed: list[Genome] = []

    async def generate(self, prompt: str, **kwargs: Any) -> str:  # the interface's signature
        """Answer a prompt that stands alone."""
        return self.answer(prompt)

    async def generate_with_context(
        self, system_message: str, messages: list[dict[str, str]], **kwargs: Any
    ) -> str:
        """Answer the last message; the system message is written for language models."""
        return self.answer(messages[-1]["content"])

    def answer(self, prompt: str) -> str:
        """A diff, or a whole program where the prompt asks for one.

        Raises:
            ValueError: the prompt holds no program of a known framework with an EVOLVE-BLOCK.
        """
        program = current_program(prompt)
        framework = framework_of(program)
        if framework is None:
            raise ValueError(
                "the current program extends none of the framework classes, so the grammar "
                "proposer does not know its notation"
            )
        shown = prompt.partition(_SHOWN_PROGRAMS)[2]
        known = (genomes_in(program, framework) or [softmax_genome(framework)])[0]
        turn = current_turn()
        before = self._proposed if turn is None else _recorded(turn, framework)
        tried = {*genomes_in(prompt, framework), *before}
        number = len(self._proposed) if turn is None else turn.iteration
        rng = self._generator(number, program, tried)
        proposal = propose(known, genomes_in(shown, framework), tried, rng)
        self._proposed.append(proposal.genome)
        block = render_block(proposal.genome)
        change = _explain(known, proposal)
        if _DIFF_MARKERS[0] in prompt:
            return f"{change}\n\n{replacing_diff(program, block)}"
        return f"{change}\n\n```python\n{_replaced(program, block)}\n```"

    def _generator(self, number: int, program: str, tried: set[Genome]) -> random.Random:
        names = sorted(genome.names for genome in tried)
        key = json.dumps([self._seed, number, program, names])
        return random.Random(int(hashlib.sha256(key.encode()).hexdigest(), 16))


def _recorded(turn: Turn, framework: str) -> list[Genome]:
    sources = RunDirectory(turn.run_path).sources_before(turn.iteration)
    return [genome for source in sources for genome in genomes_in(source, framework)]


def create_grammar_client(model_config: LLMModelConfig) -> GrammarLLM:
    """For OpenEvolve's ``init_client``: importable, because configurations are pickled."""
    return GrammarLLM(model_config)


def register_grammar_provider() -> None:
    """Let OpenEvolve's own command understand ``provider: grammar``.

    OpenEvolve has no public way to add a provider; a test watches over the registry that this uses.
    """
    ensemble._PROVIDER_REGISTRY[PROVIDER] = create_grammar_client


def current_program(prompt: str) -> str:
    """The fenced code under the heading ``# Current Program``.

    Raises:
        ValueError: there is none.
    """
    _, heading, rest = prompt.rpartition(_CURRENT_PROGRAM)
    lines = rest.split("\n")
    if not heading or not lines[0].startswith("```"):
        raise ValueError("the prompt has no fenced code under '# Current Program'")
    # The program may hold a fence of its own; the last one before the task closes it.
    task = next((i for i, line in enumerate(lines) if line.startswith("# Task")), len(lines))
    fences = [i for i, line in enumerate(lines[:task]) if i > 0 and line.rstrip() == "```"]
    if not fences:
        raise ValueError("the code under '# Current Program' has no end")
    return "\n".join(lines[1 : fences[-1]])


def replacing_diff(program: str, block: str) -> str:
    """A SEARCH/REPLACE diff that puts ``block`` in the place of the program's EVOLVE-BLOCK.

    Lines that look like a diff marker, such as a rule of equal signs, cannot be searched for; they
    are left standing between the pieces, which is harmless for comments.

    Raises:
        ValueError: no diff in OpenEvolve's format can express the replacement.
    """
    pieces: list[list[str]] = [[]]
    for line in _block_lines(program):
        if any(marker in line for marker in _DIFF_MARKERS):
            pieces.append([])
        else:
            pieces[-1].append(line)
    searches = [text for text in ("\n".join(piece).strip("\n") for piece in pieces) if text.strip()]
    # The block comes last: before that, an old piece could be found in the new text.
    replacements = [*[""] * (len(searches) - 1), block]
    diff = "\n\n".join(
        f"<<<<<<< SEARCH\n{search}\n=======\n{replacement}\n>>>>>>> REPLACE"
        for search, replacement in zip(searches, replacements, strict=True)
    )
    child, num_applied = apply_diff_blocks(program, extract_diffs(diff))
    if num_applied != len(searches) or not _holds(child, block):
        raise ValueError("the current EVOLVE-BLOCK cannot be replaced by a SEARCH/REPLACE diff")
    return diff


def _block_lines(program: str) -> list[str]:
    blocks = parse_evolve_blocks(program)
    if len(blocks) != 1 or not blocks[0][2].strip():
        raise ValueError(f"the current program has {len(blocks)} EVOLVE-BLOCKs, wanted one")
    return blocks[0][2].split("\n")


def _replaced(program: str, block: str) -> str:
    _block_lines(program)
    lines = program.split("\n")
    start, end, _ = parse_evolve_blocks(program)[0]
    return "\n".join([*lines[: start + 1], *block.split("\n"), "", "", *lines[end:]])


def _holds(child: str, block: str) -> bool:
    """True when the child parses and its class is the one in ``block``, and no other."""
    try:
        classes = [node for node in ast.parse(child).body if isinstance(node, ast.ClassDef)]
    except SyntaxError:
        return False
    return [ast.dump(node) for node in classes] == [ast.dump(n) for n in ast.parse(block).body]


def _explain(known: Genome, proposal: Proposal) -> str:
    pairs = zip(known.names, proposal.genome.names, strict=True)
    changes = [
        f"- {BY_NAME[new].slot}: {old} -> {new} ({BY_NAME[new].title}, arXiv {BY_NAME[new].source})"
        for old, new in pairs
        if old != new
    ]
    head = f"Proposed by the {MODEL_NAME}: {proposal.operation}."
    return "\n".join([head, *changes])
