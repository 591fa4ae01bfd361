//! Tests of the builder from the outside, one module a topic.

mod expansion;
mod fuzz;
mod oracle;
mod plan;
mod sandbox;
mod served;
mod trace;
