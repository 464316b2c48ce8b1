"""Options of the test suite."""

from __future__ import annotations


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write tests/golden/*/plan.txt and tests/startup/*.modules anew, to be reviewed",
    )
