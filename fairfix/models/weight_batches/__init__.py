"""Running a network many times with other weights, faster than one by one."""
