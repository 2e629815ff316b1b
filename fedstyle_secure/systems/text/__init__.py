"""Recognition of lettering: what is learned is to read words."""
