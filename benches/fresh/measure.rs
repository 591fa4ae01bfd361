//! Figures: of one build, and of all sides beside each other.

use serde_json::{Value, json};

use crate::command::Result;
use crate::proxy::Proxy;
use crate::sides::{Built, Export, Side};
use crate::site::Site;

/// The side that the others are compared with.
pub const PEER: &str = "BuildKit";

/// All that was measured.
pub struct Measured<'p> {
    proxy: &'p Proxy,
    pub rows: Vec<Value>,
}

impl<'p> Measured<'p> {
    pub fn new(proxy: &'p Proxy) -> Self {
        Self { proxy, rows: Vec::new() }
    }

    /// Builds once, and says what it took.
    pub fn build(&mut self, case: &str, round: usize, side: &mut dyn Side, site: &Site, export: Export) -> Result<()> {
        self.time(case, round, &side.name(), || side.build(site, export))
    }

    /// Does something once, and says what it took.
    pub fn time(&mut self, case: &str, round: usize, name: &str, work: impl FnOnce() -> Result<Built>) -> Result<()> {
        let before = self.proxy.counts();
        let built = work()?;
        let mut moved = self.proxy.counts().since(before);
        moved.up += built.past_proxy.up;
        moved.down += built.past_proxy.down;
        let (seconds, said) = (built.seconds, &built.words);
        let (up, down) = (moved.up as f64 / 1e6, moved.down as f64 / 1e6);
        println!("{case:16} {name:18} {seconds:8.2} s  {up:9.2} MB up  {down:9.2} MB down  {said}");
        self.rows.push(json!({
            "case": case, "round": round, "side": name, "seconds": seconds, "up": moved.up, "down": moved.down, "said": built.said,
        }));
        Ok(())
    }
}

/// The least that one side took in a case.
fn best(rows: &[Value], case: &str, side: &str, what: &str) -> f64 {
    let of = rows.iter().filter(|row| row["case"] == case && row["side"] == side);
    of.filter_map(|row| row[what].as_f64()).fold(f64::NAN, f64::min)
}

/// How much more one side takes than the other in a case: fastest run against fastest run.
pub fn ratio(rows: &[Value], case: &str, more: &str, less: &str) {
    let [time, down] = ["seconds", "down"].map(|what| best(rows, case, more, what) / best(rows, case, less, what));
    println!("{case:16} {less:18} {more} takes {time:.1}x the time and pulls {down:.1}x the bytes");
}

/// How much more the peer takes than each of our sides: fastest run against fastest run.
pub fn ratios(rows: &[Value], cases: &[&str]) {
    let mut ours: Vec<&str> = rows.iter().filter_map(|row| row["side"].as_str()).filter(|side| *side != PEER).collect();
    ours.dedup();
    ours.sort_unstable();
    ours.dedup();
    println!();
    for case in cases {
        for side in &ours {
            let [time, up, down] =
                ["seconds", "up", "down"].map(|what| best(rows, case, PEER, what) / best(rows, case, side, what));
            if time.is_finite() {
                println!(
                    "{case:16} {side:18} {PEER} takes {time:.1}x the time, pushes {up:.1}x and pulls {down:.1}x the bytes"
                );
            }
        }
    }
}
