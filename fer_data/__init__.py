"""FER-2013 in, training batches out: sources, the prepared data set, splits, audit, augmentation."""
