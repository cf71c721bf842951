"""What the figures of agreement count, and that they are of different networks."""

from __future__ import annotations

from bench.edge.agreement import COLUMNS, SPECS, _cells, _figures
from littoral.architectures import build


def row(variant: str, agrees: float, counts: str) -> dict[str, object]:
    return {
        "architecture": "net", "variant": variant, "where": "here", "bytes": 1, "accuracy": 0.9, "agrees": agrees,
        "furthest": 0.1, "counts": counts,
    }  # fmt: skip


def test_the_lowest_that_ran_counts_and_what_did_not_run_does_not() -> None:
    rows = [
        row("onnx", 1.0, "float"),
        row("ncnn-fp16", 0.9998, "float"),
        row("coreml-fp16", 0.5, ""),
        row("onnx-int8", 0.997, "int8"),
        row("tensorrt-int8", 0.4, ""),
    ]
    figures = _figures(rows)
    assert {name: figure.value for name, figure in figures.items()} == {
        "agreement_float_min": 0.9998,
        "agreement_int8_min": 0.997,
    }
    assert "the lowest of 2 artifacts that ran: net as ncnn-fp16" in figures["agreement_float_min"].note
    assert "the lowest of 1 artifacts that ran" in figures["agreement_int8_min"].note
    assert all(len(_cells(found)) == len(COLUMNS) for found in rows)


def test_no_network_stands_there_twice() -> None:
    networks = [build(spec, channels=1, height=28, width=28, classes=10) for spec in SPECS.values()]
    shapes = [tuple(tuple(parameter.shape) for parameter in network.parameters()) for network in networks]
    assert len(set(shapes)) == len(shapes) == 5
