"""What publish.py and mail.py are made of: pages, the digest in words, all nights together, letters and how they are handed over."""
