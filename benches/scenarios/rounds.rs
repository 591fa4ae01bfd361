//! How each scenario is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Result, output};
use crate::edits::{self, Edit};
use crate::equal;
use crate::report::{Outcome, Times};
use crate::shiplap::Shiplap;
use crate::side::{Run, Side};
use crate::site::Site;

pub struct Bench {
    site: Site,
    sides: Vec<Box<dyn Side>>,
    work: PathBuf,
}

impl Bench {
    pub fn new(site: Site, sides: Vec<Box<dyn Side>>, work: &Path) -> Self {
        Self { site, sides, work: work.to_owned() }
    }

    /// Builds of which nothing is known but the base image.
    pub fn cold(&mut self, rounds: u32) -> Result<Outcome> {
        let mut times = self.times();
        self.each(0, &mut times, |side, site| side.set_base(site, &site.base).map(|()| None));
        for round in 0..rounds as usize {
            self.each(round, &mut times, |side, site| side.build_cold(site).map(Some));
        }
        Ok(Outcome::of(times))
    }

    /// Builds after an edit, or after none.
    pub fn warm(&mut self, rounds: u32, edit: Option<&Edit>) -> Result<Outcome> {
        let mut times = self.times();
        self.settle(0, &mut times);
        let possible = edit.map_or(rounds, |edit| edit.limit(rounds));
        for round in 0..possible as usize {
            let unique = self.site.next();
            let undo = edit.map(|edit| edit.apply(&self.site.folder, round, unique)).transpose()?;
            self.each(round, &mut times, |side, site| side.build(site).map(Some));
            if let Some(undo) = undo {
                undo.undo()?;
                self.each(round, &mut times, |side, site| side.build(site).map(|_| None));
            }
        }
        let outcome = Outcome::of(times);
        Ok(if possible < rounds { outcome.note(format!("there are only {possible} such edits")) } else { outcome })
    }

    /// Builds after another base image took the name of the old one.
    pub fn base_replaced(&mut self, rounds: u32) -> Result<Outcome> {
        let mut times = self.times();
        self.settle(0, &mut times);
        for round in 0..rounds as usize {
            let base = self.site.another_base()?;
            self.each(round, &mut times, |side, site| side.set_base(site, &base).map(|()| None));
            self.each(round, &mut times, |side, site| side.build(site).map(Some));
            self.settle(round, &mut times);
            std::fs::remove_file(&base.tar)?;
        }
        Ok(Outcome::of(times))
    }

    /// Cold builds of Shiplap with and without the tracer.
    pub fn trace_cost(&mut self, rounds: u32) -> Result<Outcome> {
        let mut times = vec![Times::new("Shiplap, untraced"), Times::new("Shiplap, traced")];
        let flags: [&[&str]; 2] = [&["--no-trace"], &[]];
        let mut shiplap = Shiplap::with_store(self.work.join("trace-store"));
        for i in (0..rounds as usize).flat_map(|round| turns(2, round)) {
            // One side alone is no comparison.
            if times.iter().all(|side| side.error.is_none()) {
                sync()?;
                times[i].add(shiplap.build_fresh(&self.site, flags[i]).map(Some));
            }
        }
        shiplap.remove_store()?;
        Ok(Outcome::of(times))
    }

    /// After an edit of the plugin, what steps are reused for and what an empty store makes of the same tree.
    pub fn plugin_equals_cold(&mut self) -> Result<Outcome> {
        let mut times = vec![Times::new("Shiplap, edited"), Times::new("Shiplap, empty store")];
        let tars = [self.work.join("warm.tar"), self.work.join("cold.tar")];
        // The store of the other scenarios, which may know the tree already.
        let mut warm = Shiplap::new(&self.work);
        warm.set_base(&self.site, &self.site.base)?;
        warm.build(&self.site)?;
        let unique = self.site.next();
        let undo = edits::PLUGIN.apply(&self.site.folder, 0, unique)?;
        times[0].add(Ok(Some(warm.build(&self.site)?)));
        warm.export(&tars[0])?;
        let mut cold = Shiplap::with_store(self.work.join("cold-store"));
        times[1].add(Ok(Some(cold.build_cold(&self.site)?)));
        cold.export(&tars[1])?;
        cold.remove_store()?;
        undo.undo()?;
        let equality = equal::compare(&tars[0], &tars[1])?;
        tars.iter().try_for_each(std::fs::remove_file)?;
        Ok(Outcome::of(times).equality(equality))
    }

    /// Removes what was made with the sides.
    pub fn clean(&mut self) {
        self.sides.iter_mut().for_each(|side| side.clean());
    }

    /// Every side builds the tree as it is, on the base image of the beginning. Not timed.
    fn settle(&mut self, round: usize, times: &mut [Times]) {
        self.each(round, times, |side, site| {
            side.set_base(site, &site.base)?;
            side.build(site).map(|_| None)
        });
    }

    /// Something that every side does, in turn. A side that failed is out for the rest of the scenario.
    fn each(&mut self, round: usize, times: &mut [Times], act: impl Fn(&mut dyn Side, &Site) -> Result<Option<Run>>) {
        for i in turns(self.sides.len(), round) {
            if times[i].error.is_none() {
                let done = sync().and_then(|()| act(self.sides[i].as_mut(), &self.site));
                times[i].add(done);
            }
        }
    }

    fn times(&self) -> Vec<Times> {
        self.sides.iter().map(|side| Times::new(side.name())).collect()
    }
}

/// The sides in the order of a round: each time another one begins.
fn turns(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |i| (i + round) % sides)
}

/// What one side left unwritten is not to slow down the next.
fn sync() -> Result<()> {
    output(&mut Command::new("sync")).map(drop)
}
