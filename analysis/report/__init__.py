"""One self-contained page about runs."""

from interlude.analysis.report.page import CardText, report_page, reproducing_scenario

__all__ = ["CardText", "report_page", "reproducing_scenario"]
