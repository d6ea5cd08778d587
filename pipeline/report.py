"""Write the report, one self-contained page: `python -m pipeline.report`."""

from pipeline import ROOT, cli


def main() -> None:
    """Write reports/index.html."""
    from numnist import files, report

    files.write_text(ROOT / "reports" / "index.html", report.render(report.read(ROOT, cli.params())))


if __name__ == "__main__":
    cli.run(main)
