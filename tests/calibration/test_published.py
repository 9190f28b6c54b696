"""Published orders name mechanisms that are shipped, and say where they are from."""

from __future__ import annotations

import math
import re

import pytest

from openevolve_unified.calibration.published import ORDERS, SOFTMAX
from openevolve_unified.mechanisms.catalog import mechanisms


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
def test_an_order_has_known_names_a_source_and_a_caution(order):
    shipped = {mechanism.name for mechanism in mechanisms()} | {SOFTMAX}
    assert set(order.values) <= shipped
    assert len(order.values) >= 3
    assert all(math.isfinite(value) for value in order.values.values())
    assert re.match(r"arXiv \d{4}\.\d{5}", order.source)
    assert order.measures
    assert order.caution


def test_orders_have_distinct_names_and_leave_the_controls_out():
    assert len({order.name for order in ORDERS}) == len(ORDERS)
    controls = {mechanism.name for mechanism in mechanisms() if mechanism.is_control}
    assert not any(controls & set(order.values) for order in ORDERS)
