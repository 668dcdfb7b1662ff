"""Reading what lies outside: a folder of kinds per study, and what several of them use."""
