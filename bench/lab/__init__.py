"""How quickly a lab of many trials is read, and what became of its parameters worked out."""
