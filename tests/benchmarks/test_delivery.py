from benchmarks.cases import delivery


def test_figures_of_delivery_are_ratios() -> None:
    took = {"no subscriber": 4.0, "one callback": 5.0, "other class": 4.0, "other run": 4.2, "bare decode": 0.5}
    round_ = {label: {"seconds": seconds, "µs/event": seconds} for label, seconds in took.items()}
    assert [figure.of(round_) for figure in delivery.CASE.figures] == [2.0, 1.0, 1.05]
