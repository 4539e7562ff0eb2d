"""Times of statewise beside other packages: ``python -m benchmarks [NAME …]``. A ratio is shown only where the results agree."""
