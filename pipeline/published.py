"""Set our networks beside published results: `python -m pipeline.published`.

Takes the networks of its experiments from the store of trials, which must have all of them, tests each once, and writes
docs/published.json and the table in docs/published.md.
"""

from itertools import chain

from numnist.common.errors import DataError
from numnist.config import cli, overrides
from pipeline import ROOT

DATA = "mnist"


def main() -> None:
    """Write the comparison."""
    from numnist.common import files
    from numnist.data import dataset
    from numnist.evaluation import literature
    from numnist.training import scheduling

    data = dataset.load(ROOT / "data" / "processed")
    if data.name != DATA:
        raise DataError(
            f"data/processed holds {data.name}, and published results are on {DATA}; see data.name in params.yaml"
        )
    store = scheduling.open_store(ROOT / ".checkpoints", data)
    trials = {record.experiment: overrides.trials_of(record.experiment, ROOT / "conf") for record in literature.RECORDS}
    if missing := [name for name, configs in trials.items() if not all(map(store.has, configs))]:
        command = f"python -m pipeline.train -m +experiment={','.join(missing)}"
        raise DataError(f"not all networks of {', '.join(missing)} are trained; `{command}` trains them")
    everything = scheduling.Trainer(data, store).train([*chain.from_iterable(trials.values())])
    done = {one.config: one for one in chain.from_iterable(everything)}
    found = {name: [done[config] for config in configs] for name, configs in trials.items()}
    content = literature.compare(found, data, lambda: dataset.load_test(ROOT / "data" / "processed"))
    table, page, record = literature.markdown(content), ROOT / "docs" / "published.md", ROOT / "docs" / "published.json"
    files.write_json(record, content)
    files.write_text(page, literature.replace_block(page.read_text(encoding="utf-8"), table))
    print(f"{table}\nwritten to {record} and, as a table, to {page}")


if __name__ == "__main__":
    cli.run(main, __doc__)
