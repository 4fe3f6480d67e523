"""The core on CPUs that are not this one, under qemu: `make test-arm`."""
