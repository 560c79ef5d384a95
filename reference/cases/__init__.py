"""Reference cases: what Python transformers computes for one small model, in files that any implementation can read."""
