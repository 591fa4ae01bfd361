//! Steps on a served tree: they see what they would see of the layers' directories. Needs root and `/dev/fuse`.

mod ends;
mod lab;
mod rootless;
mod same;
