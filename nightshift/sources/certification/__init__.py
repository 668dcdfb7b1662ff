"""Certification: histograms per lumisection, luminosities, and lists of certified lumisections."""
