//! The kernel command line: what the kernel takes, and what it passes on to the program.
