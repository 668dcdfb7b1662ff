"""Reading what lies outside: files and servers of each kind, and what an extraction leaves."""
