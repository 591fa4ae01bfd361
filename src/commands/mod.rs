//! One file a verb.

pub mod build;
pub mod completions;
pub mod deploy;
pub mod doctor;
pub mod export;
pub mod gc;
pub mod images;
pub mod import;
pub mod init;
pub mod key;
pub mod plan;
pub mod pull;
pub mod push;
pub mod referrers;
pub mod release;
pub mod releases;
pub mod rollback;
pub mod sbom;
pub mod sign;
pub mod status;
pub mod tags;
pub mod verify;
pub mod verify_signature;
pub mod why;
