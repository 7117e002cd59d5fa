"""The same jobs on many machines: Ray Data over a pool of workers, one journal on the driver."""
