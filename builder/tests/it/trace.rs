//! What a step is seen to ask, one test a rule of `docs/tracing.md`. Needs root and a C compiler, as CI has them.

mod changes;
mod closed;
mod lab;
mod paths;
mod programs;
