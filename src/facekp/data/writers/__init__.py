"""Writers: one module per label format, which other programs and facekp's readers read; `base` has the registry."""
