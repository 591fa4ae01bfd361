//! OCI images: assembling, pulling, pushing, importing, exporting, tags that cannot move

pub mod tag;
