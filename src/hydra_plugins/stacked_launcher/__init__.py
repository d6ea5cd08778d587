"""`hydra/launcher=stacked`: a multirun whose trials are trained together, as stacks of networks."""
