//! YAML to component configuration, with the place of everything.
