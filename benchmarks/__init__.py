"""What the package costs, measured against what people would use instead."""
