"""Times of statewise beside other packages: ``python -m benchmarks [NAME …]``. No ratio where the results disagree."""
