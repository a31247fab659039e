"""What environments on Linux machines share: nodes in namespaces, in containers and on hosts, and the faults of the kernel."""
