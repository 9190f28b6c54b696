"""Example: the quickstart as a folder in the shape of OpenEvolve's examples.

Everything in it is copied from what is shipped, so that it is the same experiment.
"""

from __future__ import annotations

from pathlib import Path

from openevolve_unified.plugin.native import EVALUATOR_PATH
from openevolve_unified.runs.templates import initial_program, template_dir, write_missing

COMMAND = "openevolve-run initial_program.py evaluator.py --config config.yaml"
_README = f"""# A causal attention mechanism, judged by its scaling law

    {COMMAND}

evolves the class in `initial_program.py` between its `EVOLVE-BLOCK` markers. Every candidate is
trained at four small sizes, and its score is minus the slope of `loss = intercept + slope * ln(N)`:
higher is better. No API key, no GPU and no download are needed: the proposer is a grammar of
published ingredients, and the text is generated. It is a pilot: 750 of 100,000 steps.

- `initial_program.py`: softmax attention as coefficient dynamics; only the block may change.
- `evaluator.py`: OpenEvolve's `evaluate`, and the stages of a cascade. It reads the configuration
  of the command, else `config.yaml` beside it.
- `config.yaml`: OpenEvolve's settings, and ours under `scaling_law`. For a language model, write
  its `llm` section as in OpenEvolve's other examples.
- `prompts/`: the templates that tell a language model the rules and its verdicts.

Output goes to `openevolve_output`, finished work to `store`: nothing in it is trained again.
`openevolve config.yaml` runs the same experiment with its plan, its noise and a confirmation of the
winner.
"""
_HEAD = f"""\
# The quickstart of OpenEvolve Unified in the shape of OpenEvolve's examples; see README.md.
#
#   {COMMAND}
"""
_PLACES = {
    "../initial_programs/coefficient_dynamics.py": "initial_program.py",
    "../experiments/quickstart": "openevolve_output",
}


def example_files() -> dict[str, str]:
    """The files of the folder: their texts by their names."""
    configs = template_dir() / "configs"
    _, _, body = (configs / "quickstart.yaml").read_text(encoding="utf-8").partition("\n\n")
    for shipped, here in _PLACES.items():
        body = body.replace(shipped, here)
    files = {
        "README.md": _README,
        "initial_program.py": initial_program("coefficient_dynamics").read_text(encoding="utf-8"),
        "evaluator.py": EVALUATOR_PATH.read_text(encoding="utf-8"),
        "config.yaml": f"{_HEAD}\n{body}",
    }
    for path in sorted((configs / "prompts").iterdir()):
        files[f"prompts/{path.name}"] = path.read_text(encoding="utf-8")
    return files


def write_example(target: Path) -> tuple[list[Path], list[Path]]:
    """Write the folder; see ``runs.templates.write_missing``."""
    return write_missing(target, {name: t.encode() for name, t in example_files().items()})
