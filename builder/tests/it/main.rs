//! Tests of the builder from the outside, one module a topic.

mod expansion;
mod oracle;
mod plan;
mod sandbox;
mod trace;
