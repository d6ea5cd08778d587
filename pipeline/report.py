"""Write the report, one self-contained page: `python -m pipeline.report`."""

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Write reports/index.html."""
    from numnist.common import files
    from numnist.report import html_page
    from numnist.tracking import mlflow_runs
    from numnist.training import results

    page = ROOT / "reports" / "index.html"
    files.remove_partial(page.parent)
    material = html_page.read(ROOT, cli.params())
    files.write_text(page, html_page.render(material))
    tracker = mlflow_runs.connect(ROOT)
    if parent := tracker.sweep(results.sweep_key(results.keys_in(ROOT / "runs"))):
        tables = sorted((ROOT / "reports" / "tables").glob("*.csv"))
        tracker.log_files(
            parent, {"report": [page, ROOT / "reports" / "metrics.json", ROOT / "sweep.csv"], "report/tables": tables}
        )
        tracker.log_text(parent, "report/heat_maps.html", html_page.heat_maps(material))


if __name__ == "__main__":
    cli.run(main)
