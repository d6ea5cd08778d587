"""Write the report, one self-contained page: `python -m pipeline.report`."""

from pipeline import ROOT, cli


def main() -> None:
    """Write reports/index.html."""
    from numnist import files, report, results, tracking

    page = ROOT / "reports" / "index.html"
    files.remove_partial(page.parent)
    material = report.read(ROOT, cli.params())
    files.write_text(page, report.render(material))
    tracker = tracking.connect(ROOT)
    if parent := tracker.sweep(results.sweep_key(results.keys_in(ROOT / "runs"))):
        tables = sorted((ROOT / "reports" / "tables").glob("*.csv"))
        tracker.log_files(
            parent, {"report": [page, ROOT / "reports" / "metrics.json", ROOT / "sweep.csv"], "report/tables": tables}
        )
        tracker.log_text(parent, "report/heat_maps.html", report.heat_maps(material))


if __name__ == "__main__":
    cli.run(main)
