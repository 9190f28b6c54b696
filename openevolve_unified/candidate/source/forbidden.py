"""Forbidden names: what the policy looks for in a program's imports, attributes and calls.

Lists of bad names have no end, so modules go the other way: all that may be reached into is named,
and the rest is refused. No torch here.
"""

from __future__ import annotations

import sys

IMPORTS = ("math", "torch", "torch.nn", "torch.nn.functional", "typing")
MODULES = frozenset(
    [
        "torch",
        "torch.nn",
        "torch.nn.functional",
        "torch.nn.init",
        "torch.linalg",
        "torch.fft",
        "torch.special",
    ]
)
"""All that may be reached into; torch holds a hundred other modules, os and sys among them."""
NO_MODULES = frozenset(("select", "trace"))
"""Functions of torch that share their name with a module of Python."""
PYTHON_MODULES = sys.stdlib_module_names - NO_MODULES
TYPES = ("float", "bfloat", "int", "bool", "complex")
NAMES = frozenset(
    [
        "exec",
        "eval",
        "compile",
        "open",
        "input",
        "globals",
        "locals",
        "vars",
        "breakpoint",
        "getattr",
        "setattr",
        "delattr",
        "memoryview",
        "gc",
        "sys",
        "os",
        "inspect",
        "ctypes",
        "builtins",
        "importlib",
        "subprocess",
        "socket",
        "threading",
        "random",
        "pickle",
    ]
)
GRADIENT_MODES = ("no_grad", "inference_mode", "enable_grad")
"""Free to use where initial values are set."""
ATTRIBUTES = {
    **dict.fromkeys(
        (*GRADIENT_MODES, "set_grad_enabled"),
        "gradients must reach everything; write .detach() on the tensor that should not get any "
        "(to set initial values in __init__, torch.no_grad is fine)",
    ),
    **dict.fromkeys(
        ("setattr", "delattr"),
        "write the assignment: self.name = ... in __init__, a local variable in a method",
    ),
    "detach_": "tracing loses a detach in place: write .detach()",
    **dict.fromkeys(
        ("autograd", "Function", "library", "custom_op"),
        "a custom backward cannot be traced; write the forward in ordinary torch operators",
    ),
    **dict.fromkeys(
        (
            "compile",
            "jit",
            "fx",
            "export",
            "utils",
            "multiprocessing",
            "distributed",
            "hub",
            "backends",
            "overrides",
            "serialization",
            "load",
            "save",
            "ops",
            "from_file",
        ),
        "the trainer compiles and runs the mechanism itself; use plain tensor operators",
    ),
    "cuda": "a mechanism does not look at devices, it is the same on all; create tensors with "
    "device=q.device",
    **dict.fromkeys(
        ("manual_seed", "seed", "set_rng_state", "set_default_dtype", "set_num_threads"),
        "global settings belong to the trainer",
    ),
    **dict.fromkeys(
        ("Dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d"),
        "dropout is fixed: it is applied once, to the result",
    ),
}
RANDOM = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "bernoulli_",
        "multinomial",
        "normal_",
        "uniform_",
        "random_",
        "exponential_",
        "poisson",
        "gumbel_softmax",
        "rrelu",
    ]
)
