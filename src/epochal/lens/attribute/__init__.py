"""Methods that say what each part of an input has to do with a network's answer: one file each."""
