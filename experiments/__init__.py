"""What recurrent layers can learn: small scripts with their expected results, ``python -m experiments.<name>.run``.

Each folder has a `run.py` and an `expected.json`: the command, the result that it gave, and the bound that it must keep. The tests
run the reduced form of each (``--quick``).
"""
