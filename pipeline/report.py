"""Write the report, one self-contained page: `python -m pipeline.report`."""

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Write reports/index.html."""
    from numnist.common import files
    from numnist.report import html_page
    from numnist.tracking import champion, recorded, runs

    page = ROOT / "reports" / "index.html"
    files.remove_partial(page.parent)
    files.write_text(page, html_page.render(html_page.read(ROOT, cli.params())))
    tracker = runs.connect(ROOT)
    if parent := recorded.find_sweep(tracker.store, champion.sweep_key(ROOT)):
        champion.log_report(tracker, ROOT, parent)


if __name__ == "__main__":
    cli.run(main, __doc__)
