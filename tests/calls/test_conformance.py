"""The matrix and its page name what there is."""

import conformance


def test_every_test_that_the_matrix_names_exists(request):
    collected = {item.originalname for item in request.session.items}
    if len(collected) > 50:  # else only some tests were asked for
        assert conformance.missing(collected) == []


def test_every_behaviour_is_seen_by_a_test_or_says_why_not():
    for item in conformance.items():
        assert bool(item.tests) != bool(item.why_not), item


def test_the_page_has_every_behaviour():
    page = conformance.PAGE.read_text()
    for item in conformance.items():
        assert f"| {item.behaviour} |" in page, item.behaviour
