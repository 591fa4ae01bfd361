//! One file a verb.

pub mod build;
pub mod completions;
pub mod copy;
pub mod deploy;
pub mod doctor;
pub mod export;
pub mod gc;
pub mod images;
pub mod import;
pub mod init;
pub mod plan;
pub mod pull;
pub mod push;
pub mod release;
pub mod releases;
pub mod rmi;
pub mod rollback;
pub mod serve;
pub mod status;
pub mod tags;
pub mod verify;
pub mod why;
