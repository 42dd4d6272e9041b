"""Help for those who test IPsec implementations: see :mod:`ipsecfast.testing.strategies`."""
