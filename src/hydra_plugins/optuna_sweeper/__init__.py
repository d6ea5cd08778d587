"""`hydra/sweeper=optuna`: a multirun that searches for the best network instead of trying every combination."""
