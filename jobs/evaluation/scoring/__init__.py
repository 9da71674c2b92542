"""Score images: the contenders, the shards of the data set, and the Ray actors that run one on the other."""
