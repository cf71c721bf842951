"""What this machine is and how it stands now: hardware, accelerators, energy, memory, battery, heat, the network line."""
