"""Published orders: what others measured of the mechanisms in the catalogue, as data.

Nearly all are single runs, at other lengths and with other blocks around the mixer (short
convolutions, output gates and norms weigh as much as the mixer), so none is the truth; each says
what speaks against it. Orders at thousands of tokens may invert at the short lengths of a pilot,
where recurrent mechanisms lead on the first tokens. What differs by a percent or two in the sources
(positions, temperatures, sigmoid, differential) is left out: no anchor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOFTMAX = "softmax"
"""The initial programs, which are softmax attention with sinusoidal positions."""


@dataclass(frozen=True, kw_only=True)
class PublishedOrder:
    """One column of one table of one source."""

    name: str
    source: str
    measures: str
    """What the values are, and in which setting."""
    values: Mapping[str, float]
    """By the catalogue's names."""
    less_is_better: bool
    caution: str


ORDERS = (
    PublishedOrder(
        name="WikiText-103, 40M",
        source="arXiv 2102.11174, table 2",
        measures="validation perplexity, 256 tokens",
        values={SOFTMAX: 33.0, "delta_net": 34.1, "linear_attention": 37.1},
        less_is_better=True,
        caution="the closest setting; its delta rule has elu + 1 features with sums normalised, "
        "ours unit keys",
    ),
    PublishedOrder(
        name="SlimPajama, 340M, no convolution",
        source="arXiv 2406.06484, table 1",
        measures="WikiText perplexity after 15B tokens, 2,048 tokens",
        values={
            SOFTMAX: 28.39,
            "gated_linear_attention": 28.65,
            "delta_net": 29.08,
            "retnet": 32.33,
        },
        less_is_better=True,
        caution="single runs; the Transformer has rotary positions; with convolutions the delta "
        "rule leads (28.24)",
    ),
    PublishedOrder(
        name="FineWeb-Edu, 1.3B",
        source="arXiv 2412.06464, table 3",
        measures="WikiText perplexity after 100B tokens, 4,096 tokens",
        values={
            "gated_delta_net": 16.42,
            "mamba2_ssd": 16.56,
            "delta_net": 17.71,
            SOFTMAX: 18.53,
            "retnet": 19.08,
        },
        less_is_better=True,
        caution="recurrent mechanisms have short convolutions and output gates here, softmax has "
        "not; the recall order below is nearly the reverse",
    ),
    PublishedOrder(
        name="FineWeb-Edu, 1.3B, recall",
        source="arXiv 2412.06464, table 4",
        measures="mean recall accuracy in percent",
        values={
            SOFTMAX: 37.0,
            "gated_delta_net": 30.6,
            "mamba2_ssd": 29.8,
            "delta_net": 26.2,
            "retnet": 22.9,
        },
        less_is_better=False,
        caution="retrieval from long texts, which a loss averages away",
    ),
    PublishedOrder(
        name="SlimPajama, 1B",
        source="arXiv 2506.05233",
        measures="perplexity after 50B tokens",
        values={
            "mesa": 13.79,
            SOFTMAX: 13.79,
            "gated_delta_net": 13.87,
            "mlstm": 14.03,
            "delta_net": 14.05,
            "mamba2_ssd": 14.58,
        },
        less_is_better=True,
        caution="single runs that differ by 2% apart from the last; short convolutions",
    ),
    PublishedOrder(
        name="LongCrawl, 760M",
        source="arXiv 2503.02130, table 1",
        measures="WikiText perplexity after 48B tokens, 16,384 tokens",
        values={
            "forgetting_transformer": 26.45,
            SOFTMAX: 28.14,
            "mamba2_ssd": 28.20,
            "delta_net": 29.17,
            "hgrn2": 30.57,
        },
        less_is_better=True,
        caution="at 16,384 tokens a forget gate has far more to forget than in a pilot",
    ),
    PublishedOrder(
        name="FineWeb-Edu, 760M",
        source="arXiv 2505.16381, table 2",
        measures="WikiText perplexity after 50B tokens",
        values={"path": 18.03, "forgetting_transformer": 18.33, "rope": 19.01},
        less_is_better=True,
        caution="three single runs",
    ),
    PublishedOrder(
        name="MAD",
        source="arXiv 2406.06484",
        measures="mean accuracy of six synthetic tasks in percent",
        values={
            SOFTMAX: 74.5,
            "delta_net": 71.8,
            "linear_attention": 62.3,
            "gated_linear_attention": 60.0,
        },
        less_is_better=False,
        caution="synthetic tasks, no language; sources differ by .05 for one mechanism",
    ),
    PublishedOrder(
        name="MAD, with Mesa",
        source="arXiv 2506.05233",
        measures="mean accuracy of six synthetic tasks in percent",
        values={
            "mesa": 76.1,
            SOFTMAX: 75.8,
            "mlstm": 73.2,
            "delta_net": 67.7,
            "mamba2_ssd": 66.0,
        },
        less_is_better=False,
        caution="synthetic tasks, no language; Mesa and softmax change places between sources",
    ),
    PublishedOrder(
        name="matrix classes, 70M",
        source="arXiv 2407.09941, table 2",
        measures="masked-language-model loss on C4, mean of five runs",
        values={
            "quasiseparable": 1.84,
            SOFTMAX: 1.87,
            "toeplitz_data_dependent": 1.91,
            "cauchy": 1.94,
            "toeplitz": 1.97,
            "vandermonde": 2.04,
            "dense_positional": 2.05,
            "low_rank_positional": 2.06,
        },
        less_is_better=True,
        caution="bidirectional, with a short convolution and a gate; the one source with repeats. "
        "It holds that data-dependent classes beat the others, Vandermonde apart",
    ),
)
