"""`hydra/launcher=stacked`: a multirun whose cells are trained together, as stacks of networks."""
