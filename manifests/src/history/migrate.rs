//! From version 1 of `history.db` to version 2: the log is made of what there is.

use rusqlite::Connection;

use super::deployments::every_deployment;
use super::log::append;
use super::releases::every_release;
use super::schema::LOG;
use crate::deployment::Outcome;
use crate::log::{LogEvent, ReleaseEvent};
use crate::names::InstanceName;

/// Writes the log of all instances. What happened before is taken as it is found: from here on a change is seen.
pub(super) fn to_version_2(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("ALTER TABLE deployments ADD COLUMN origin TEXT")?;
    db.execute_batch(LOG)?;
    let mut statement = db.prepare("SELECT DISTINCT instance FROM releases ORDER BY instance")?;
    let instances: Vec<InstanceName> =
        statement.query_map([], |row| super::column(row, "instance"))?.collect::<rusqlite::Result<_>>()?;
    for instance in instances {
        let mut releases = every_release(db, &instance)?.into_iter().peekable();
        for deployment in every_deployment(db, &instance)? {
            // As it happened, as far as clocks can be trusted, and they tell no more than seconds. A release comes before what deploys it.
            let ended = deployment.finished.unwrap_or(deployment.started);
            while let Some(release) =
                releases.next_if(|release| release.sequence <= deployment.release || release.created < ended)
            {
                append(db, &instance, LogEvent::Release(ReleaseEvent::from(&release)))?;
            }
            // One that did not end is logged when it does.
            if deployment.outcome != Outcome::Pending {
                append(db, &instance, LogEvent::Deployment(Box::new(deployment)))?;
            }
        }
        for release in releases {
            append(db, &instance, LogEvent::Release(ReleaseEvent::from(&release)))?;
        }
    }
    Ok(())
}
