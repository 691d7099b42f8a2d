"""How dates and times are written, instead of as Django has it: see FORMAT_MODULE_PATH."""
