//! From a Dockerfile to layers: plan, sandbox, steps
