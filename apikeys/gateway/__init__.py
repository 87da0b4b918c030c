"""Forward authentication for an API that has no security of its own."""
