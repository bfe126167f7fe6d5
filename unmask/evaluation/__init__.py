"""The whole pipeline, measured: which stage costs how much, in the paper's table and ours."""
