"""torch imports inside the jail, and a forked candidate exports there."""

from __future__ import annotations

import pytest

SOURCE = """
import warnings
warnings.simplefilter("ignore")
os.environ["TMPDIR"] = {scratch!r}
{without}
zygote = jail.confine_zygote(Path({scratch!r}), ours, Limits())
import torch
import torch.export
import torch.nn.functional as F
class Mixer(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = torch.nn.Linear(width, width)
    def forward(self, q, k):
        scores = q @ k.transpose(-2, -1)
        scores[..., 0] += 1
        return (F.gelu(self.gate(scores)) + torch.cumsum(scores, -1)).softmax(-1)
def export(width):
    inputs = (torch.randn(2, width, 8), torch.randn(2, width, 8))
    program = torch.export.export(Mixer(width), inputs, strict=False).run_decompositions({{}})
    return sorted({{str(node.target) for node in program.graph.nodes}})
export(4)
answer = in_candidate(lambda: export(6))
answer["threads"] = len(os.listdir("/proc/self/task"))
print(json.dumps(answer))
"""
WITHOUT_LANDLOCK = """
def refuse(grants): raise OSError("not offered")
landlock.restrict = refuse
"""


@pytest.mark.parametrize("without", ["", WITHOUT_LANDLOCK], ids=["full", "sealed"])
def test_a_candidate_is_exported_inside_the_jail(run_fresh, tmp_path, without):
    answer = run_fresh(SOURCE.format(scratch=str(tmp_path), without=without))
    assert "aten.softmax.int" in answer["found"]
    assert "seccomp" in answer["report"]["layers"]
    assert answer["threads"] == 1
