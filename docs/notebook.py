# An example for notebooks: evaluate a mechanism, compare it, plot it. Each `# %%` begins a cell.
# The ladder is a toy of seconds, to show the calls; leave TOY out for the quickstart itself.

# %%
import math

import torch.nn as nn
import torch.nn.functional as F

import openevolve_unified as unified
from openevolve_unified.frameworks import CoefficientDynamics

CONFIG = "configs/quickstart.yaml"
TOY = [
    "scaling_law.ladder=[{hidden_dim: 16, num_layers: 1, num_heads: 2}, "
    "{hidden_dim: 24, num_layers: 1, num_heads: 3}, {hidden_dim: 32, num_layers: 1, num_heads: 4}]",
    "scaling_law.data.num_documents=600",
    "scaling_law.data.vocab_size=300",
    "scaling_law.data.seq_len=16",
    "scaling_law.data.validation_sequences=32",
    "scaling_law.data.test_sequences=32",
    "scaling_law.training.training_steps=40",
    "scaling_law.training.warmup_steps=5",
    "scaling_law.training.eval_frequency=20",
    "scaling_law.execution.num_workers=1",
    "scaling_law.noise.mode=none",
    "scaling_law.gates.max_flops_ratio=1.5",
]


# %%
class EvolvableAttention(CoefficientDynamics):
    """Attention with a forget gate."""

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.forget = nn.Linear(hidden_dim, num_heads)

    def transition(self, k, x):
        return {"log_bias": F.logsigmoid(self.forget(x) + 4.0).transpose(1, 2)}


forgetting = unified.evaluate(EvolvableAttention, config=CONFIG, overrides=TOY, output_dir="toy")
forgetting

# %% The initial program is the baseline, and comes from the store: nothing is trained twice.
softmax = unified.evaluate(
    "initial_programs/coefficient_dynamics.py", config=CONFIG, overrides=TOY, output_dir="toy"
)
difference = unified.compare(forgetting, softmax)
difference

# %%
figure = unified.plot(forgetting, softmax)

# %% A law for losses from elsewhere.
law = unified.fit_law([5e5, 1e6, 2e6, 4e6], [2.10, 1.98, 1.87, 1.77])
law

# %% The folder of a run that `openevolve` made: unified.read_run("experiments/quickstart")
print(forgetting, softmax, difference, law, f"e^loss = {math.exp(1.77):.2f}", sep="\n\n")
