"""A notebook as a script: an own mechanism against the best of a run.

Run it, or its cells (`# %%`), in a folder made by `openevolve-unified init .`, after
`openevolve configs/quickstart.yaml`.
"""

# %% A mechanism: softmax attention with a sharper temperature.
from openevolve_unified import api
from openevolve_unified.errors import ConfigError
from openevolve_unified.frameworks import CoefficientDynamics


class Sharper(CoefficientDynamics):
    """Softmax attention whose scores are larger by half."""

    def impulse(self, k, x):
        return 1.5 * k / self.head_dim**0.5


# %% Is it legal, and how does its loss fall with size? Finished work is kept.
mine = api.evaluate(Sharper, "configs/quickstart.yaml")
print(mine)

# %% A run, from its folder.
run = api.read("experiments/quickstart")
print(run)
print(run.best.law)

# %% Who is better? For a search only: `openevolve-unified validate` judges a claim.
print(api.compare(mine, run.baseline))

# %% The laws in one figure.
try:
    api.plot(mine.law, run.best.law, run.baseline.law).savefig("laws.svg")
except ConfigError as error:
    print(error)  # without matplotlib

# %% Losses of one's own, three sizes and two seeds.
print(api.fit([1e5, 1e6, 1e7], [[3.1, 3.2], [2.6, 2.7], [2.2, 2.1]], name="my losses"))
