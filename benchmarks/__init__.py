"""What retouch reaches, measured: `python -m benchmarks NAME`."""
