//! From a Dockerfile to layers: plan, sandbox, steps

pub mod dockerfile;
pub mod glob;
pub mod ignore;
pub mod plan;
pub mod sandbox;
