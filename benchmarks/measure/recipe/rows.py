"""Names of the rows and forms in the record of ``python -m benchmarks recipe``, shared by the suite and its tables."""

EPOCH = "an epoch on cached features"
PEAK = "peak memory of encoding"
EXPERIMENT = "the paper's experiment"
RATES = "FLOP a second"
CACHED, ENCODING = "cached", "encoding"  # source of the features of an epoch
LOOP = "an epoch beside a bare loop's"
BARE = "bare loop"
