//! Instances, releases, deployments and rollback
