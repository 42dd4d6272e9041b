"""Native code of ipsecfast; private.  It imports nothing of the package above it but errors and the SA's class."""
