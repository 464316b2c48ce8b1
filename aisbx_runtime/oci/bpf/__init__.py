"""Programs for the kernel's BPF machine, made as bytes: pure, without a system call."""
