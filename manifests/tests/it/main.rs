//! The tests of `manifests` as a whole.
